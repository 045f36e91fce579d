//! `weft get egress-policies`

use clap::Args;

use super::{Output, Query, client, print};
use crate::api::view::{EgressPolicy, EgressRule, KnownAddress, Source};

/// Which policies, and how much of them.
#[derive(Args)]
pub struct EgressPolicies {
    /// Only the policies of this namespace
    #[arg(value_name = "NAMESPACE")]
    only: Option<String>,
    /// The same, as a flag
    #[arg(short, long, conflicts_with = "only")]
    namespace: Option<String>,
    /// Also each rule: what it met, when last, and the addresses of its name
    #[arg(long)]
    rules: bool,
    #[command(flatten)]
    query: Query,
}

/// Prints the policies.
pub fn run(args: &EgressPolicies) -> anyhow::Result<()> {
    let namespace = args.only.as_ref().or(args.namespace.as_ref());
    let question = [("namespace", namespace)];
    let question = if namespace.is_some() {
        &question[..]
    } else {
        &[]
    };
    let config = &args.query.config;
    let policies: Vec<EgressPolicy> = client::ask(config, "/v1/egress-policies", &question)?;
    if args.query.output == Output::Json {
        return print::json(&policies);
    }
    print::table(
        ["NAMESPACE", "NAME", "STATE", "RULES", "REASON"],
        policies.iter().map(|policy| {
            [
                policy.namespace.clone(),
                policy.name.clone(),
                policy.state.name().into(),
                policy.rules.len().to_string(),
                match &policy.warning {
                    Some(warning) if policy.reason.is_empty() => format!("warning: {warning}"),
                    Some(warning) => format!("{}; warning: {warning}", policy.reason),
                    None => policy.reason.clone(),
                },
            ]
        }),
    );
    if args.rules {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        for policy in policies.iter().filter(|policy| !policy.rules.is_empty()) {
            print::line(&format!("\n{}/{}", policy.namespace, policy.name));
            rules(policy, now.as_secs());
        }
    }
    Ok(())
}

fn rules(policy: &EgressPolicy, now: u64) {
    let rows = policy.rules.iter().flat_map(|rule| {
        let last = rule.last_hit.map(|time| time / 1_000_000_000);
        let last = last.map_or("never".into(), |time| {
            format!("{} s ago", now.saturating_sub(time))
        });
        let first = [
            rule.number.to_string(),
            rule.text.clone(),
            rule.packets.to_string(),
            rule.bytes.to_string(),
            last,
            match rule.addresses.as_deref() {
                None => String::new(),
                Some([]) => unresolved(rule),
                Some([first, ..]) => address(first),
            },
        ];
        let others = rule.addresses.iter().flatten().skip(1);
        let others = others.map(|it| {
            let mut row = <[String; 6]>::default();
            row[5] = address(it);
            row
        });
        std::iter::once(first).chain(others)
    });
    print::table(
        ["RULE", "TEXT", "PACKETS", "BYTES", "LAST HIT", "ADDRESSES"],
        rows,
    );
}

/// Why a rule by name has no address.
fn unresolved(rule: &EgressRule) -> String {
    match &rule.name {
        Some(name) if !name.error.is_empty() => {
            format!("unresolved: {}; asked again in {} s", name.error, name.next)
        }
        _ => "unresolved".into(),
    }
}

fn address(it: &KnownAddress) -> String {
    format!("{} ({})", it.ip, known(it))
}

/// How an address is known.
pub fn known(it: &KnownAddress) -> String {
    let who = match (it.source, &it.pod) {
        (Source::Resolver, _) => "resolved by the agent".to_owned(),
        (Source::Answer, Some(pod)) => format!("told to pod {pod}"),
        (Source::Answer, None) => "told to a pod that is gone".to_owned(),
    };
    let left = it.seconds_left;
    let left = left.map_or(String::new(), |seconds| format!(", {seconds} s left"));
    format!("{who}{left}")
}
