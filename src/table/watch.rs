//! Looks whether the files of tables have changed, and reads them again.
//!
//! A file may be replaced by another of its name, or written anew in place. It is read once two looks in a row have found it
//! the same, so that nothing half-written is taken as long as its writer does not pause for so long; what is wrong with it is
//! told once, and the rows before stay until it changes again.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Loaded, Table};
use crate::io::{Bell, Clock, Mode, Placement, Step, Task, host};
use crate::time::Now;

/// The time between two looks, microseconds.
const LOOK_US: u64 = 1_000_000;

/// What tells the content of a file apart from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    /// Seconds and nanoseconds: when the content was changed, and when anything was.
    changed: [(i64, i64); 2],
}

impl Stamp {
    /// The stamp of a file.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            changed: [(metadata.mtime(), metadata.mtime_nsec()), (metadata.ctime(), metadata.ctime_nsec())],
        }
    }
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    /// What was taken, or could not be.
    settled: Option<Stamp>,
    /// What the last look has found, where that is not settled.
    seen: Option<Stamp>,
}

/// What a look comes to.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// All is as it was, or is still being changed.
    Nothing,
    /// The file is no longer there, which it was at the look before.
    Gone,
    /// There is something to be read.
    New,
}

impl Known {
    fn look(&mut self, found: Option<Stamp>) -> Sight {
        let seen = std::mem::replace(&mut self.seen, found.filter(|_| found != self.settled));
        match found {
            None if self.settled.take().is_some() || seen.is_some() => Sight::Gone,
            Some(_) if found == seen && self.seen.is_some() => Sight::New,
            _ => Sight::Nothing,
        }
    }

    fn settle(&mut self, stamp: Option<Stamp>) {
        *self = Self { settled: stamp, seen: None };
    }
}

/// A thread that keeps tables up to date until this goes.
#[derive(Debug)]
pub struct TableWatch {
    stop: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl TableWatch {
    /// Watches those of the tables that are to be watched, each with the stamp of what was loaded; none where there are none.
    ///
    /// # Errors
    ///
    /// If there is no thread to be had.
    pub fn start(tables: Vec<(Arc<Table>, Stamp)>, clock: Clock) -> io::Result<Option<Self>> {
        let known = |(table, stamp): (Arc<Table>, Stamp)| (table, Known { settled: Some(stamp), seen: None });
        let tables: Vec<(Arc<Table>, Known)> =
            tables.into_iter().filter(|(table, _)| table.watch).map(known).collect();
        if tables.is_empty() {
            return Ok(None);
        }
        let (stop, bell) = (Arc::new(AtomicBool::new(false)), Arc::new(Bell::default()));
        let placement = Placement { name: "tables".to_owned(), cpu: None, bell: bell.clone() };
        let watch = Watching { tables, stop: stop.clone(), next_us: clock.now().monotonic_us + LOOK_US };
        // It is not waited for: where it reads a file, nobody needs what comes of it.
        drop(host(Mode::Threads, placement, clock, move || watch)?);
        Ok(Some(Self { stop, bell }))
    }
}

impl Drop for TableWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }
}

struct Watching {
    tables: Vec<(Arc<Table>, Known)>,
    stop: Arc<AtomicBool>,
    next_us: u64,
}

impl Task for Watching {
    fn step(&mut self, now: Now) -> Step {
        if self.stop.load(Ordering::Acquire) {
            return Step::Done;
        }
        if now.monotonic_us >= self.next_us {
            self.tables.iter_mut().for_each(|(table, known)| look(table, known));
            self.next_us = now.monotonic_us + LOOK_US;
        }
        Step::Wait(Some(self.next_us))
    }
}

/// Looks at the file of a table once, and takes what there is to be taken.
fn look(table: &Table, known: &mut Known) {
    table.release();
    let found = table.look();
    match known.look(found) {
        Sight::Nothing => {}
        Sight::Gone => tracing::warn!(
            "the table `{}` keeps the rows it has: {} is not there any more",
            table.name,
            table.path
        ),
        Sight::New => match table.load() {
            // It has changed while it was read: two more looks have to find it at rest.
            Ok(Loaded { stamp, .. }) if table.look() != Some(stamp) => {}
            Ok(Loaded { index, stamp, notes }) => {
                for note in &notes {
                    tracing::warn!("the table `{}`: {note}", table.name);
                }
                tracing::info!(rows = index.rows().num_rows(), "the table `{}` is read again", table.name);
                table.publish(index);
                known.settle(Some(stamp));
            }
            Err(error) => {
                tracing::warn!("the table `{}` keeps the rows it has: failed to {error}", table.name);
                known.settle(found);
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(number: u64) -> Stamp {
        Stamp { inode: (0, 0), bytes: number, changed: [(0, 0); 2] }
    }

    /// Looks at files of these lengths, 0 for none, when 1 was loaded; what is new is taken.
    fn check(found: &[u64], expect: &[Sight]) {
        let mut known = Known { settled: Some(stamp(1)), seen: None };
        for (place, (bytes, expect)) in found.iter().zip(expect).enumerate() {
            let found_here = Some(stamp(*bytes)).filter(|_| *bytes > 0);
            let sight = known.look(found_here);
            assert_eq!(sight, *expect, "{found:?}, look {place}");
            if sight == Sight::New {
                known.settle(found_here);
            }
        }
    }

    #[test]
    fn a_file_is_read_when_two_looks_find_the_same() {
        use Sight::{Gone, New, Nothing};
        check(&[1, 1, 1], &[Nothing, Nothing, Nothing]);
        check(&[2, 2, 2], &[Nothing, New, Nothing]);
        check(&[2, 3, 4, 4, 4], &[Nothing, Nothing, Nothing, New, Nothing]);
        check(&[2, 1, 2, 2], &[Nothing, Nothing, Nothing, New]);
        check(&[0, 0, 1, 1, 1], &[Gone, Nothing, Nothing, New, Nothing]);
        check(&[2, 0, 0, 2, 2], &[Nothing, Gone, Nothing, Nothing, New]);
        check(&[2, 2, 3, 3, 1, 1], &[Nothing, New, Nothing, New, Nothing, New]);
    }
}
