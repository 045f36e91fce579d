//! What a kernel lacks is said with its remedy, and is missed no longer as soon as it is there.

use weft_lab::vm::Add;

use crate::machine::{run, spec};

/// A node by itself, with an underlay of its own.
const NODE: &str = "set -e
mkdir -p /etc/weft/manifests
cp objects.yaml /etc/weft/manifests
ip link add under0 type veth peer name under1
ip address add 192.168.56.11/24 dev under0
ip link set under0 up && ip link set under1 up
cat >/etc/weft/agent.yaml <<END
nodeName: node1
nodeInterface: under0
source: {manifests: /etc/weft/manifests}
END
agent() { weft agent --config /etc/weft/agent.yaml; }
status() { weft status --config /etc/weft/agent.yaml; }
";
const OBJECTS: &str = "
apiVersion: network.openshift.io/v1
kind: ClusterNetwork
metadata: {name: default}
clusterNetworks: [{CIDR: 10.128.0.0/14, hostSubnetLength: 9}]
serviceNetwork: 172.30.0.0/16
pluginName: redhat/openshift-ovs-multitenant
---
apiVersion: network.openshift.io/v1
kind: HostSubnet
metadata: {name: node1}
host: node1
hostIP: 192.168.56.11
subnet: 10.128.2.0/23
";

/// Runs the rest of a script on such a node; what it said.
#[track_caller]
fn on_a_node(script: &str) -> String {
    let file = std::env::temp_dir().join(format!("weft-vm-{:08x}", rand::random::<u32>()));
    std::fs::write(&file, OBJECTS).unwrap();
    let mut machine = spec("6.12", &format!("{NODE}{script}"));
    machine.add.push(Add {
        file: file.clone(),
        name: "objects.yaml".into(),
    });
    let (result, said) = run(&machine);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(result.unwrap().code, 0, "{said}");
    said
}

#[test]
fn a_module_that_is_missing_is_named_and_used_as_soon_as_it_can_be_loaded() {
    let said = on_a_node(
        "printf 'install %s /bin/false\n' vxlan xt_bpf >/etc/modprobe.d/no.conf
         agent >log 2>&1 &
         until status >said 2>/dev/null || grep -q 'modprobe vxlan' said; do sleep 0.2; done
         cat said
         # Long enough for several tries and for every look at what may have been taken away.
         sleep 12
         echo \"failures: $(grep -c 'pass incomplete' log)\"
         echo \"suspected: $(grep -c 'took away' log || :)\"
         echo 'install xt_bpf /bin/false' >/etc/modprobe.d/no.conf
         begun=$(date +%s)
         until status >said 2>/dev/null; do sleep 0.2; done
         echo \"ready after $(($(date +%s) - begun)) s\"
         cat said
         iptables-save -t filter
         weft preflight --config /etc/weft/agent.yaml || :
         rm /etc/modprobe.d/no.conf
         # Any pass tries it again, such as after a change of the network.
         sed -i 's/^pluginName/mtu: 1400\\npluginName/' /etc/weft/manifests/objects.yaml
         until iptables-save -t filter | grep object-pinned; do sleep 0.2; done
         status
         echo end",
    );
    assert!(
        said.contains("create device weft0") && said.contains("modprobe vxlan tells why"),
        "{said}"
    );
    assert!(!said.contains("weft status"), "{said}");
    // It is said once, not with every try.
    assert!(said.contains("failures: 1\n"), "{said}");
    assert!(said.contains("suspected: 0\n"), "{said}");
    let after = said.split_once("ready after ").unwrap().1;
    let seconds: u32 = after.split(' ').next().unwrap().parse().unwrap();
    // The longest pause between two tries, five seconds, and the try itself on an emulated processor that may have half of a
    // real one, with all that xt_bpf is tried for.
    assert!(seconds <= 30, "{said}");
    // Without xt_bpf all other rules are there, and what is open is said.
    let rules = "-A FORWARD -j OPENSHIFT-FIREWALL-FORWARD";
    assert!(after.contains(rules), "{said}");
    assert!(!after.contains("OPENSHIFT-FIREWALL-TRIAL"), "{said}");
    let (without, with) = after.split_once("-m bpf --object-pinned").unwrap();
    for (part, times) in [(without, 2), (with, 0)] {
        let named = part.matches("lead past the egress firewall").count();
        assert_eq!(named, times, "{said}");
        assert_eq!(part.matches("modprobe xt_bpf").count(), times, "{said}");
    }
    assert!(with.ends_with("end\n"), "{said}");
}

#[test]
fn a_kernel_that_interprets_is_refused_in_one_sentence() {
    let said = on_a_node(
        "sysctl -q -w net.core.bpf_jit_enable=0
         ! weft preflight -o json --config /etc/weft/agent.yaml
         ! agent 2>&1",
    );
    let sentence = "switch it on (sysctl -w net.core.bpf_jit_enable=1";
    assert_eq!(said.matches(sentence).count(), 2, "{said}");
    assert!(!said.contains("verifier"), "{said}");
}
