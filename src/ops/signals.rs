//! SIGINT and SIGTERM as events of the control plane.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shard::Event;

/// Signals that are kept until somebody is told of them.
pub struct Caught(Signals);

/// From now on SIGINT and SIGTERM do not end the process but are kept for [`Caught::forward`].
///
/// # Errors
///
/// If the handlers cannot be set.
pub fn catch() -> io::Result<Caught> {
    Signals::new([SIGINT, SIGTERM]).map(Caught)
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
