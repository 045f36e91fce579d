//! `weft explain`

use std::process::ExitCode;

use clap::Args;

use super::{Output, Query, client, egress, print};
use crate::api::explain::Question;
use crate::api::target::Target;
use crate::api::view::{Answer, Explanation, Outcome};

/// No answer: the pod is not here, the name has no known address, or the agent is away.
const NO_ANSWER: u8 = 2;

/// Who would send what to whom.
#[derive(Args)]
pub struct Explain {
    /// Sending pod on this node, by name or by one of its addresses
    #[arg(long, value_name = "NAMESPACE/POD")]
    from: String,
    /// Destination; TCP if a port is named, else an echo request: 203.0.113.7:80, [2001:db8::7]:53/udp, www.example.com
    #[arg(long, value_name = "ADDRESS|NAME[:PORT][/PROTOCOL]")]
    to: Target,
    #[command(flatten)]
    query: Query,
}

/// Explains; exit code 0 if the packet gets through, 1 if it is dropped (to some addresses of a name, at least).
pub fn run(args: &Explain) -> ExitCode {
    match explain(args) {
        Ok(Outcome::Allowed) => ExitCode::SUCCESS,
        Ok(Outcome::Denied | Outcome::Mixed) => ExitCode::FAILURE,
        Ok(Outcome::Unknown) => ExitCode::from(NO_ANSWER),
        Err(error) => {
            // 1 is an answer here.
            eprintln!("weft: {error:#}");
            ExitCode::from(NO_ANSWER)
        }
    }
}

fn explain(args: &Explain) -> anyhow::Result<Outcome> {
    let Query { output, config } = &args.query;
    let question = Question {
        from: args.from.clone(),
        to: args.to.to_string(),
    };
    let found: Explanation = client::ask(config, "/v1/explain", &question)?;
    match output {
        Output::Json => print::json(&found)?,
        Output::Table => print::line(&text(&found)),
    }
    Ok(found.outcome)
}

fn text(found: &Explanation) -> String {
    let Explanation {
        pod,
        project: _,
        vnid,
        to,
        outcome,
        note,
        answers,
    } = found;
    let vnid = vnid.map_or("closed".into(), |vnid| format!("VNID {vnid}"));
    let mut lines = vec![format!("{pod} ({vnid}) -> {to}: {}", word(*outcome))];
    lines.extend((!note.is_empty()).then(|| format!("  {note}")));
    lines.extend(answers.iter().map(answer));
    lines.join("\n")
}

fn answer(answer: &Answer) -> String {
    let Answer {
        ip,
        outcome,
        way: _,
        reason,
        text,
        policy,
        rule,
        rule_text,
        known,
    } = answer;
    let reason = reason.as_ref().map(|reason| format!("{reason}: "));
    let reason = reason.unwrap_or_default();
    let mut lines = vec![format!("  {ip}  {}: {reason}{text}", word(*outcome))];
    match (policy, rule) {
        (_, Some(rule)) => {
            let policy = policy.as_deref().unwrap_or("a policy that is gone");
            let rule_text = rule_text.as_deref().unwrap_or_default();
            lines.push(format!("      rule {rule} of {policy}: {rule_text}"));
        }
        (Some(policy), None) => lines.push(format!(
            "      no rule of {policy} matches, so it is allowed"
        )),
        (None, None) => {}
    }
    let known = known.iter();
    lines.extend(known.map(|it| format!("      {} is {}", it.name, egress::known(it))));
    lines.join("\n")
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Mixed => "allowed to some of its addresses",
        Outcome::Unknown => "not known",
    }
}
