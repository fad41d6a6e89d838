//! SIGINT and SIGTERM as events of the control plane.

use std::io;
use std::sync::mpsc::Sender;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shard::Event;

/// From now on SIGINT and SIGTERM do not end the process but are told to `tell`.
///
/// # Errors
///
/// If the handlers cannot be set.
pub fn forward(tell: Sender<Event>) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
