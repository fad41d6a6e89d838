//! Logs on stderr: text for people, JSON under systemd.

use std::env;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `MILLSTREAM_LOG` chooses what is logged (`warn` where it is not set).
pub fn start() {
    let filter = EnvFilter::try_from_env("MILLSTREAM_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logs = logs.with_ansi(std::io::stderr().is_terminal());
    // JOURNAL_STREAM is set by systemd for services whose output goes to the journal.
    let started = if env::var_os("JOURNAL_STREAM").is_some() {
        logs.json().try_init()
    } else {
        logs.with_target(false).try_init()
    };
    // A second start (in tests) keeps the first.
    drop(started);
}
