//! Logging of the long-running commands: to standard error, `WEFT_LOG` chooses what (default `info`).

use tracing_subscriber::EnvFilter;

/// Starts it. JSON lines when `WEFT_LOG_FORMAT=json`.
pub fn init() {
    let filter = EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
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
