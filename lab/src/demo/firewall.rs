//! The egress firewall: a name may be reached, nothing else, and a new address of it at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::rr::RecordType;
use weft_wait::patience::patient;

use super::{Member, go_on, say};
use crate::cli::interrupt::Interrupt;
use crate::dns::{Change, Server};
use crate::lab::output::output_within;
use crate::lab::{Action, Lab};
use crate::probe::{self, Lookup, Outcome};

/// The host outside that answers on a whole prefix, and the one with the name server.
pub(super) const EXTERNALS: [&str; 2] = ["web=198.51.100.0/24", "dns=203.0.113.53"];
/// Where the name server answers.
pub(super) const DNS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 53));
const ZONE: &str = "example.com";
const NAME: &str = "www.example.com";
const PORT: u16 = 80;
/// How long something may take that is to happen soon.
const PATIENCE: Duration = Duration::from_secs(20);
/// Silence that tells a closed path from a pause of the machine.
const SILENCE: Duration = Duration::from_millis(300);
/// New addresses in a row.
const MOVES: u8 = 20;

const POLICY: &str = "\
apiVersion: network.openshift.io/v1
kind: EgressNetworkPolicy
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {type: Allow, to: {cidrSelector: 203.0.113.53/32}}
  - {type: Allow, to: {dnsName: www.example.com}}
  - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
";

/// Shows it, on the first node.
pub(super) fn show(lab: &Lab, members: &[Member], interrupt: &Interrupt) -> Result<()> {
    let at = |project: &str| {
        let found = members
            .iter()
            .find(|it| it.pod.namespace == project && it.pod.node == "node1");
        found.with_context(|| format!("no pod of {project} on node1"))
    };
    let (shop, bank) = (at("shop")?, at("bank")?);
    let _web = probe::Server::start(&lab.host_netns("web")?, PORT, "web")?;
    let dns = Server::start(&lab.host_netns("dns")?, &[DNS], &[ZONE])
        .context("start a name server (knotd)")?;
    dns.change(&named(7))?;

    say(
        "\n== Egress firewall: shop may reach www.example.com outside, and its name server; bank has no policy",
    )?;
    for line in POLICY.lines().skip(4) {
        say(&format!("   {line}"))?;
    }
    expect(shop, web(9), true)?;
    let begun = Instant::now();
    lab.apply(POLICY, "the demo")?;
    let glance = patient(Duration::from_millis(50));
    while reaches(shop, web(9), glance)? {
        go_on(interrupt)?;
        ensure!(
            begun.elapsed() < patient(PATIENCE),
            "the policy has no effect"
        );
    }
    let effect = begun.elapsed().saturating_sub(glance);
    say(&format!(
        "   $ weft-lab apply -f policy.yaml   (denied on the wire after {} ms)",
        effect.as_millis()
    ))?;
    lookups(shop, 1, &dns, 7, interrupt)?;
    for (to, what, allowed) in [(7, NAME, true), (9, "another host", false)] {
        expect(shop, web(to), allowed)?;
        expect(bank, web(to), true)?;
        say(&format!(
            "   {} ({what}): {} {}, {} reaches it",
            web(to),
            shop.name(),
            if allowed {
                "reaches it"
            } else {
                "is refused it"
            },
            bank.name()
        ))?;
    }

    say(&format!(
        "\n== {NAME} moves {MOVES} times; each time the pod asks the name server and connects at once"
    ))?;
    let longest = lookups(shop, MOVES, &dns, 20, interrupt)?;
    say(&format!(
        "   {MOVES} of {MOVES} connected, the slowest {:.1} ms after the answer",
        1e3 * longest.as_secs_f64()
    ))?;
    lab.agent("node1", Action::Kill)?;
    say(
        "   now without an agent: it is killed (SIGKILL), and the data path goes on reading answers",
    )?;
    let longest = lookups(shop, MOVES, &dns, 60, interrupt)?;
    say(&format!(
        "   {MOVES} of {MOVES} connected, the slowest {:.1} ms after the answer",
        1e3 * longest.as_secs_f64()
    ))?;
    expect(shop, web(9), false)?;
    lab.agent("node1", Action::Start)?;

    for to in [
        format!("{}:80", web(60 + MOVES - 1)),
        format!("{}:80", web(9)),
    ] {
        explain(lab, shop, &to)?;
    }
    Ok(())
}

/// Moves the name again and again; after each move the pod asks for it and connects. The longest way from answer to
/// connection.
fn lookups(
    pod: &Member,
    moves: u8,
    dns: &Server,
    first: u8,
    interrupt: &Interrupt,
) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for host in first..first + moves {
        go_on(interrupt)?;
        dns.change(&named(host))?;
        let connect = || Lookup::at(DNS).connect(NAME, RecordType::A, PORT, patient(SILENCE));
        let round = pod.ns.run(connect)??;
        ensure!(
            round.answer.addresses == [web(host)] && round.outcome.reached(),
            "{} was told {:?} for {NAME} and did not reach it: {:?}",
            pod.name(),
            round.answer.addresses,
            round.outcome
        );
        longest = longest.max(round.connect);
    }
    Ok(longest)
}

fn named(host: u8) -> Change {
    Change::of(ZONE).addresses(NAME, 1, &[web(host)])
}

fn web(host: u8) -> IpAddr {
    Ipv4Addr::new(198, 51, 100, host).into()
}

fn reaches(from: &Member, to: IpAddr, deadline: Duration) -> Result<bool> {
    match probe::tcp(&from.ns, SocketAddr::new(to, PORT), deadline)? {
        Outcome::Reached { .. } => Ok(true),
        Outcome::Silent => Ok(false),
        other => bail!("{} -> {to}: {other:?}", from.name()),
    }
}

fn expect(from: &Member, to: IpAddr, reached: bool) -> Result<()> {
    let deadline = patient(if reached { PATIENCE } else { SILENCE });
    ensure!(
        reaches(from, to, deadline)? == reached,
        "{} {} {to}",
        from.name(),
        if reached { "does not reach" } else { "reaches" }
    );
    Ok(())
}

/// The agent's own words.
fn explain(lab: &Lab, from: &Member, to: &str) -> Result<()> {
    let args = ["explain", "--from", &from.name(), "--to", to];
    say(&format!("   $ weft {}", args.join(" ")))?;
    // Denied is exit code 1, which is an answer too; the agent was started a moment ago.
    let begun = Instant::now();
    loop {
        let said = output_within(lab.weft(Some("node1"))?.args(args), b"", patient(PATIENCE))?;
        if !said.stdout.is_empty() {
            return said
                .stdout
                .lines()
                .try_for_each(|line| say(&format!("     {line}")));
        }
        ensure!(
            begun.elapsed() < patient(PATIENCE),
            "weft explain: {}",
            said.stderr
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
