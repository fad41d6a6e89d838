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
    let caught = catch_requests()?;
    caught.catch_ends()?;
    Ok(caught)
}

/// From now on SIGUSR1, which asks for nothing that could be bad, does not end the process but is kept.
///
/// # Errors
///
/// If the handler cannot be set.
pub fn catch_requests() -> io::Result<Caught> {
    Signals::new([SNAPSHOT]).map(Caught)
}

impl Caught {
    /// The same for SIGINT and SIGTERM.
    ///
    /// # Errors
    ///
    /// If the handlers cannot be set.
    pub fn catch_ends(&self) -> io::Result<()> {
        [SIGINT, SIGTERM].into_iter().try_for_each(|signal| self.0.add_signal(signal))
    }

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
