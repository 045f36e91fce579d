//! Logging of the long-running commands: to standard error, `WEFT_LOG` chooses what (default `info,kube_client=off`).

use tracing_subscriber::EnvFilter;

/// Starts it. JSON lines when `WEFT_LOG_FORMAT=json`.
pub fn init() {
    // What the connection to an API server says in its own words is said in ours, once, as the store's problem.
    let filter = EnvFilter::try_from_env("WEFT_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube_client=off"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let json = std::env::var("WEFT_LOG_FORMAT").is_ok_and(|format| format == "json");
    let started = if json {
        builder.json().try_init()
    } else {
        builder.with_target(false).try_init()
    };
    if let Err(error) = started {
        eprintln!("weft: logging is not available: {error}");
    }
}
