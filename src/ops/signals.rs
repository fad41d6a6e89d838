//! SIGINT, SIGTERM and SIGUSR1 as events of the control plane.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::shard::Event;

/// The signal that asks for a snapshot now.
pub const SNAPSHOT: i32 = SIGUSR1;

/// Signals that are kept until somebody is told of them.
pub struct Caught(Signals);

/// From now on SIGINT, SIGTERM and SIGUSR1 do not end the process but are kept for [`Caught::forward`].
///
/// # Errors
///
/// If the handlers cannot be set.
pub fn catch() -> io::Result<Caught> {
    Signals::new([SIGINT, SIGTERM, SIGUSR1]).map(Caught)
}

impl Caught {
    /// Tells `tell` of every signal, those that have come already included.
    ///
    /// # Errors
    ///
    /// If the thread that waits for them cannot be started.
    pub fn forward(mut self, tell: Sender<Event>) -> io::Result<()> {
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in self.0.forever() {
                if tell.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
        Ok(())
    }
}
