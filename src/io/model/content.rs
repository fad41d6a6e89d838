//! The bytes of one file: as programs see them, as they are known to be on the disk, and what lies in between.

use std::collections::BTreeMap;

/// What a disk writes whole or not at all, bytes.
pub(super) const SECTOR_BYTES: usize = 512;

/// What was done to a file and is not known to be on the disk.
#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Cut { length: usize },
}

impl Change {
    /// Does it once more, to another image of the file.
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(bytes);
            }
            Self::Cut { length } => image.truncate(*length),
        }
    }

    /// The sectors it changes, of a file that is `length` bytes long before it.
    fn sectors(&self, length: usize) -> std::ops::Range<usize> {
        let (start, end) = match self {
            // What lies between the end of the file and the write becomes zeros.
            Self::Write { offset, bytes } => (length.min(*offset), offset + bytes.len()),
            Self::Cut { length: cut } => (*cut, length.max(*cut)),
        };
        start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES)
    }
}

/// One file's bytes.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    /// The sectors that each of the changes has touched.
    dirty: Vec<std::ops::Range<usize>>,
    /// How many of the changes a failed sync has covered: the kernel believes them written, so no later sync writes them.
    lost: usize,
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.change(Change::Write { offset, bytes: bytes.to_vec() });
    }

    pub(super) fn cut(&mut self, length: usize) {
        if length < self.bytes.len() {
            self.change(Change::Cut { length });
        }
    }

    fn change(&mut self, change: Change) {
        self.dirty.push(change.sectors(self.bytes.len()));
        change.apply(&mut self.bytes);
        self.changes.push(change);
    }

    /// Makes durable what was changed since the last sync, except what a failed sync has lost.
    pub(super) fn sync(&mut self) {
        // Whoever has written to a lost sector since has made the whole of it dirty again. Of other lost sectors only
        // their place is left.
        self.durable.resize(self.bytes.len(), 0);
        for sector in self.dirty.drain(..).skip(self.lost).flatten() {
            copy_sector(&self.bytes, &mut self.durable, sector);
        }
        self.changes.clear();
        self.lost = 0;
    }

    /// A sync that fails: what it should have written is as good as gone.
    pub(super) fn fail_sync(&mut self) {
        self.lost = self.changes.len();
    }

    /// What is left when the power goes: `in_flight` are writes that no program knows the end of.
    pub(super) fn crash(&mut self, in_flight: Vec<(usize, Vec<u8>)>, random: &mut fastrand::Rng) {
        let mut changes = std::mem::take(&mut self.changes);
        let all_in_order = self.lost == 0;
        self.dirty.clear();
        changes.extend(in_flight.into_iter().map(|(offset, bytes)| Change::Write { offset, bytes }));
        self.lost = 0;
        // Each file has its own luck: all is lost, nothing is, the disk was in the middle of writing in order, or it wrote
        // sectors as it liked.
        match random.u8(..6) {
            0 => {}
            1 if all_in_order => changes.iter().for_each(|change| change.apply(&mut self.durable)),
            2 if all_in_order => {
                let whole = random.usize(..=changes.len());
                changes[..whole].iter().for_each(|change| change.apply(&mut self.durable));
            }
            _ => self.tear(&changes, random),
        }
        self.bytes.clone_from(&self.durable);
    }

    /// Leaves of each changed sector any version that it ever had, and of the file any length in between.
    fn tear(&mut self, changes: &[Change], random: &mut fastrand::Rng) {
        let mut image = self.durable.clone();
        let mut torn = self.durable.clone();
        let (mut shortest, mut longest) = (image.len(), image.len());
        let mut versions = BTreeMap::new();
        for change in changes {
            let sectors = change.sectors(image.len());
            change.apply(&mut image);
            (shortest, longest) = (shortest.min(image.len()), longest.max(image.len()));
            torn.resize(longest, 0);
            for sector in sectors {
                // Each version takes the place of those before it with a chance of one in its number: all are as likely.
                let earlier = versions.entry(sector).or_insert(0);
                *earlier += 1;
                if random.usize(..=*earlier) == 0 {
                    copy_sector(&image, &mut torn, sector);
                }
            }
        }
        let length = match random.u8(..4) {
            0 => shortest,
            1 => longest,
            2 => image.len(),
            _ => random.usize(shortest..=longest),
        };
        torn.truncate(length);
        self.durable = torn;
    }
}

/// Copies a sector between two images of a file; what one image is too short for reads as zeros.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let range = |length: usize| {
        let start = sector * SECTOR_BYTES;
        start.min(length)..(start + SECTOR_BYTES).min(length)
    };
    let source = &from[range(from.len())];
    let target = range(to.len());
    let target = &mut to[target];
    let both = source.len().min(target.len());
    target[..both].copy_from_slice(&source[..both]);
    target[both..].fill(0);
}
