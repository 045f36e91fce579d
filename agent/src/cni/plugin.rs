//! What `weft-cni` does: reads the request, opens the pod's network namespace, asks the agent, prints the answer.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use weft_netns::NetNs;

use super::netconf::NetConf;
use super::protocol::{self, Answer, Call, PROTOCOL, Verb};
use super::request::{Environment, Request, version_result};
use super::spec::{CniError, Command, SpecVersion, code};

/// How long the agent is waited for. Runtimes wait two minutes and more.
const PATIENCE: Duration = Duration::from_mins(1);
/// What the agent is told: less, so that its reason arrives.
const AGENT_PATIENCE_MS: u64 = 55_000;
/// Longer than any configuration; a runtime's mistake must not fill the memory.
const INPUT_MAX: u64 = 4 << 20;

/// Runs one command; returns the exit code.
pub fn run(
    variables: impl Fn(&str) -> Option<OsString>,
    input: impl Read,
    mut output: impl Write,
) -> u8 {
    let (text, failed) = match respond(variables, input) {
        Ok(None) => return 0,
        Ok(Some(result)) => (result, false),
        Err((version, error)) => (error.to_json(version), true),
    };
    let written = writeln!(output, "{text}").and_then(|()| output.flush());
    u8::from(failed || written.is_err())
}

/// The version is that in which an error is printed.
fn respond(
    variables: impl Fn(&str) -> Option<OsString>,
    input: impl Read,
) -> Result<Option<Value>, (SpecVersion, CniError)> {
    let environment = Environment(variables);
    let command = environment
        .command()
        .map_err(|e| (SpecVersion::CURRENT, e))?;
    let mut text = Vec::new();
    input.take(INPUT_MAX).read_to_end(&mut text).map_err(|e| {
        let msg = format!("read network configuration from standard input: {e}");
        (SpecVersion::CURRENT, CniError::new(code::IO_FAILURE, msg))
    })?;
    if command == Command::Version {
        return version(&text).map(Some);
    }
    let conf = NetConf::parse(&text)?;
    let request = environment
        .request(command, &conf)
        .map_err(|e| (conf.version, e))?;
    ask(&conf, request).map_err(|e| (conf.version, e))
}

/// VERSION needs no network, so its input holds a `cniVersion` at most. One that is not known is answered with what is.
fn version(text: &[u8]) -> Result<Value, (SpecVersion, CniError)> {
    if text.trim_ascii().is_empty() {
        return Ok(version_result(None));
    }
    let value: Value = serde_json::from_slice(text).map_err(|e| {
        let msg = format!("VERSION: standard input is no JSON: {e}");
        (
            SpecVersion::CURRENT,
            CniError::new(code::DECODING_FAILURE, msg),
        )
    })?;
    let asked = value.get("cniVersion").and_then(Value::as_str);
    Ok(version_result(
        asked.and_then(|v| SpecVersion::of_config(Some(v)).ok()),
    ))
}

fn ask(conf: &NetConf, request: Request) -> Result<Option<Value>, CniError> {
    let away = if request == Request::Status {
        code::NOT_AVAILABLE
    } else {
        code::TRY_AGAIN_LATER
    };
    let (verb, netns) = match request {
        Request::Add {
            attachment,
            netns,
            pod,
            bandwidth,
        } => {
            let opened = open_netns(&netns)?;
            let verb = Verb::Add {
                attachment,
                netns,
                pod,
                bandwidth,
            };
            (verb, Some(opened))
        }
        Request::Check {
            attachment,
            netns,
            prev_result,
        } => {
            let opened = open_netns(&netns)?;
            let verb = Verb::Check {
                attachment,
                netns,
                prev_result,
            };
            (verb, Some(opened))
        }
        Request::Del { attachment } => (Verb::Del { attachment }, None),
        Request::Gc { valid } => (Verb::Gc { valid }, None),
        Request::Status => (Verb::Status, None),
        Request::Version => return Ok(Some(version_result(Some(conf.version)))),
    };
    let call = Call {
        protocol: PROTOCOL,
        version: conf.version,
        network: conf.network.clone(),
        patience_ms: AGENT_PATIENCE_MS,
        verb,
    };
    let socket = conf.socket();
    let unreachable = |what: &str, e: io::Error| {
        CniError::new(
            away,
            format!(
                "{what} the weft agent at {}: {e}; is the agent running, and is its runDir the network \
                 configuration's?",
                socket.display()
            ),
        )
    };
    let mut stream = UnixStream::connect(&socket).map_err(|e| unreachable("connect to", e))?;
    let answer = exchange(&mut stream, &call, netns.as_ref()).map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CniError::new(
            code::TRY_AGAIN_LATER,
            format!(
                "the weft agent at {} did not answer within {PATIENCE:?}",
                socket.display()
            ),
        ),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => CniError::new(
            code::IO_FAILURE,
            format!("talk to the weft agent at {}: {e}", socket.display()),
        ),
        _ => unreachable("talk to", e),
    })?;
    match answer {
        Answer::Done(result) => Ok(result),
        Answer::Failed(error) => Err(error),
    }
}

fn exchange(stream: &mut UnixStream, call: &Call, netns: Option<&NetNs>) -> io::Result<Answer> {
    let deadline = Instant::now() + PATIENCE;
    stream.set_write_timeout(Some(PATIENCE))?;
    protocol::send(stream, call, netns.map(|n| n.as_fd()))?;
    let left = deadline.saturating_duration_since(Instant::now());
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    let (body, _) = protocol::receive(stream)?;
    Ok(serde_json::from_slice(&body)?)
}

fn open_netns(path: &str) -> Result<NetNs, CniError> {
    NetNs::open(path).map_err(|e| {
        CniError::new(
            code::INVALID_ENVIRONMENT,
            format!("CNI_NETNS={path}: {e}; it must be the path of the pod's network namespace"),
        )
    })
}
