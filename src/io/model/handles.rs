//! Open files of the modelled disk.

use std::io;
use std::sync::MutexGuard;

use super::script::crashed;
use super::tree::Id;
use super::{Ignored, ModelDisk, State};
use crate::io::storage::{ALIGNMENT, BLOCK_BYTES, BlockFile, StoredFile, again};

/// How many blocks of a file are filled or in flight at most, as on the real disk.
const BLOCKS: usize = 8;

/// An open file. It is written at its end.
pub(super) struct Handle {
    disk: ModelDisk,
    id: Id,
    /// The path it was opened by.
    shown: String,
    /// The life of the disk in which it was opened.
    life: u64,
}

impl Handle {
    pub(super) fn new(disk: ModelDisk, id: Id, shown: String, life: u64) -> Self {
        Self { disk, id, shown, life }
    }

    /// The disk, unless the file was opened before its last crash.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.lives == self.life { Ok(state) } else { Err(crashed()) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state() {
            state.tree.node(self.id).handles -= 1;
        }
    }
}

impl StoredFile for Handle {
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        while !bytes.is_empty() {
            let end = state.tree.node(self.id).content.bytes().len();
            let written = state.write(self.id, &self.shown, end, bytes)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.state()?.sync(self.id, &self.shown)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let (id, shown) = (self.id, &self.shown);
        let state = &mut *self.state()?;
        let ignored = state.script.ignores(|ignored| matches!(ignored, Ignored::TruncateOf(_)), shown);
        state.rearrange(&format!("truncate {shown} {length}"), |tree| {
            let content = &mut tree.node(id).content;
            let length = usize::try_from(length).ok().filter(|length| *length <= content.bytes().len());
            let length = length.ok_or(io::ErrorKind::InvalidInput)?;
            if !ignored {
                content.cut(length);
            }
            Ok(())
        })
    }

    fn inode(&self) -> io::Result<Option<u64>> {
        Ok(Some(self.id as u64))
    }

    fn duplicate(&self) -> io::Result<Box<dyn StoredFile>> {
        let mut state = self.state()?;
        state.script.alive()?;
        state.tree.node(self.id).handles += 1;
        Ok(Box::new(Self::new(self.disk.clone(), self.id, self.shown.clone(), self.life)))
    }
}

/// Where the sync behind the last block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    NotWanted,
    Wanted,
    Done,
}

/// A file that is written in blocks. Those in flight are kept by the disk, which may have written any of them when it
/// crashes.
pub(super) struct ModelBlocks {
    handle: Handle,
    filling: Vec<u8>,
    /// Where the next block goes.
    end: usize,
    in_flight: usize,
    /// How many polls find nothing new.
    wait: u32,
    sync: Sync,
    failure: Option<io::Error>,
}

impl ModelBlocks {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            filling: Vec::new(),
            end: 0,
            in_flight: 0,
            wait: 0,
            sync: Sync::NotWanted,
            failure: None,
        }
    }

    fn hand_over(&mut self) {
        let bytes = std::mem::take(&mut self.filling);
        let offset = self.end;
        self.end += bytes.len();
        self.in_flight += 1;
        if let Ok(mut state) = self.handle.state() {
            state.tree.node(self.handle.id).in_flight.push((offset, bytes));
        }
    }

    /// Does what can be done now; whether it was anything.
    fn advance(&mut self) -> io::Result<bool> {
        let Handle { id, shown, .. } = &self.handle;
        let mut state = self.handle.state()?;
        state.script.alive()?;
        let early =
            self.sync == Sync::Wanted && state.script.ignores(|of| *of == Ignored::BlocksInFlight, shown);
        if self.in_flight == 0 || early {
            if self.sync == Sync::Wanted {
                state.sync(*id, shown)?;
                self.sync = Sync::Done;
                return Ok(true);
            }
            return Ok(false);
        }
        let in_order = state.slow.is_none();
        let chosen = if in_order { 0 } else { state.random.usize(..self.in_flight) };
        let (offset, bytes) = state.tree.node(*id).in_flight[chosen].clone();
        let mut written = state.write(*id, shown, offset, &bytes)?;
        if state.script.ignores(|of| *of == Ignored::RestOfShortBlocks, shown) {
            written = bytes.len();
        }
        let in_flight = &mut state.tree.node(*id).in_flight;
        if written == bytes.len() {
            in_flight.remove(chosen);
            self.in_flight -= 1;
        } else {
            in_flight[chosen] = (offset + written, bytes[written..].to_vec());
        }
        Ok(true)
    }

    fn advance_as_fast_as_the_disk(&mut self) -> io::Result<()> {
        let slow = self.handle.state()?.slow;
        let Some(polls_max) = slow else {
            while self.sync != Sync::Done && self.advance()? {}
            return Ok(());
        };
        if self.wait > 0 {
            self.wait -= 1;
            return Ok(());
        }
        if self.sync != Sync::Done && self.advance()? {
            self.wait = self.handle.state()?.random.u32(..=polls_max);
        }
        Ok(())
    }
}

impl BlockFile for ModelBlocks {
    fn room(&self) -> usize {
        if self.sync != Sync::NotWanted || self.failure.is_some() {
            return 0;
        }
        (BLOCKS - self.in_flight) * BLOCK_BYTES - self.filling.len()
    }

    fn write(&mut self, mut bytes: &[u8]) {
        assert!(bytes.len() <= self.room(), "no more is written than there is room for");
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == BLOCK_BYTES {
                self.hand_over();
            }
        }
    }

    fn finish(&mut self) {
        assert_eq!(self.sync, Sync::NotWanted, "a file is finished once");
        if !self.filling.is_empty() {
            let alignment = usize::try_from(ALIGNMENT).expect("a page is small");
            self.filling.resize(self.filling.len().next_multiple_of(alignment), 0);
            self.hand_over();
        }
        self.sync = Sync::Wanted;
    }

    fn poll(&mut self) -> io::Result<bool> {
        if self.failure.is_none()
            && let Err(error) = self.advance_as_fast_as_the_disk()
        {
            self.failure = Some(error);
        }
        match &self.failure {
            Some(error) => Err(again(error)),
            None => Ok(self.sync == Sync::Done),
        }
    }
}

impl Drop for ModelBlocks {
    /// What is in flight when a file is given up is written some time later, unless the machine crashes before or the
    /// disk is full.
    fn drop(&mut self) {
        let Ok(mut state) = self.handle.state() else { return };
        if state.script.crashed {
            return;
        }
        let in_flight = std::mem::take(&mut state.tree.node(self.handle.id).in_flight);
        for (offset, bytes) in in_flight {
            if state.free() >= bytes.len() {
                state.tree.node(self.handle.id).content.write(offset, &bytes);
            }
        }
    }
}
