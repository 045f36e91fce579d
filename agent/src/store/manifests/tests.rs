mod directory;
mod text;
mod watching;

/// A NetNamespace as somebody would write it.
fn net_namespace(name: &str, netid: u32) -> String {
    format!(
        "apiVersion: network.openshift.io/v1\nkind: NetNamespace\nmetadata:\n  name: {name}\n\
         netname: {name}\nnetid: {netid}\n"
    )
}
