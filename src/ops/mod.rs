//! What surrounds a run: signals, progress, logs, the state directory, systemd.

pub mod bench;
pub mod breaker;
pub mod closing;
pub mod logs;
pub mod notify;
pub mod progress;
pub mod signals;
pub mod state_dir;
pub mod states;
