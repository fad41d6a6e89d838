//! A disk that forgets: files and folders in memory, of which only that survives a power cut which was synced. What was
//! not is drawn: any of the sectors written since, any length between, and any of the changes of names, as long as none
//! that builds on another comes without it. Stricter than any one file system, so that what holds here holds on all.
//!
//! It knows nothing of the kernel; [`super::mount`] puts it there.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use fastrand::Rng;

/// The number of a file or a folder; none is used twice.
pub type Inode = u64;

/// The folder above all others.
pub const ROOT: Inode = 1;

/// What a disk writes whole or not at all, bytes, on the strictest disks.
const SECTOR: usize = 512;

/// Why an operation was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotThere,
    Exists,
    NotEmpty,
    IsFolder,
    NoFolder,
    Full,
}

/// What there is to know of a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub inode: Inode,
    pub is_folder: bool,
    pub size: u64,
    pub mode: u16,
    /// Counts the changes of the disk; stands for the time of the last change.
    pub changed: u64,
}

/// The disk. A clone is the disk at that instant.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: BTreeMap<Inode, Node>,
    /// Changes of names that no sync has covered, oldest first.
    pending: Vec<Change>,
    next: Inode,
    changes: u64,
    /// How many bytes files may hold together.
    pub capacity: u64,
    /// How often the power was cut: what was known of a file before then is known no more.
    pub generation: u64,
}

#[derive(Clone, Debug)]
struct Node {
    mode: u16,
    changed: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    File(File),
    Folder(Folder),
}

#[derive(Clone, Debug, Default)]
struct File {
    content: Vec<u8>,
    /// What the last sync has made durable.
    durable: Vec<u8>,
    /// The shortest it has been since then: what lay behind that may have become zeros.
    shortest: usize,
    /// Sectors that a failed sync gave up: the kernel calls them clean, and no later sync writes them.
    given_up: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
struct Folder {
    names: BTreeMap<String, Inode>,
    durable: BTreeMap<String, Inode>,
}

/// What one operation does to names: all of it or nothing becomes durable.
#[derive(Clone, Debug)]
struct Change(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    folder: Inode,
    name: String,
    inode: Option<Inode>,
}

impl Change {
    /// Whether this one touches a name that the other touches: the later of the two builds on the earlier.
    fn meets(&self, other: &Self) -> bool {
        let same = |a: &Entry, b: &Entry| (a.folder, &a.name) == (b.folder, &b.name);
        self.0.iter().any(|a| other.0.iter().any(|b| same(a, b)))
    }
}

impl File {
    /// Makes the content durable, but for sectors that were given up.
    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.content.clone());
        for sector in &self.given_up {
            let range = within(sector * SECTOR..(sector + 1) * SECTOR, self.durable.len());
            for at in range {
                self.durable[at] = before.get(at).copied().unwrap_or(0);
            }
        }
        self.shortest = self.content.len();
    }

    /// A failed sync: what was to be written is given up.
    fn give_up(&mut self) {
        let sectors = self.content.len().div_ceil(SECTOR);
        let differs = |sector: &usize| {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let of = |bytes: &[u8]| bytes[within(range.clone(), bytes.len())].to_vec();
            of(&self.content) != of(&self.durable)
        };
        self.given_up = (0..sectors).filter(differs).collect();
    }

    /// What a power cut leaves.
    fn survive(&self, random: &mut Rng) -> Vec<u8> {
        if self.content == self.durable && self.shortest >= self.durable.len() {
            return self.durable.clone();
        }
        let (old, new) = (self.durable.len(), self.content.len());
        let length = match random.u8(..4) {
            0 => old,
            1 => new,
            2 => self.shortest.min(old),
            _ => random.usize(old.min(new)..=old.max(new)),
        };
        let sector_bytes = if random.bool() { SECTOR } else { 8 * SECTOR };
        // All, none, those before a place, or each for itself.
        let (way, share) = (random.u8(..4), random.f64());
        let sectors = length.div_ceil(sector_bytes);
        let bound = random.usize(..=sectors);
        let mut left = vec![0; length];
        for sector in 0..sectors {
            let is_new = match way {
                0 => true,
                1 => false,
                2 => sector < bound,
                _ => random.f64() < share,
            };
            let has_zeros = random.bool();
            let range = sector * sector_bytes..length.min((sector + 1) * sector_bytes);
            for at in range {
                let given_up = self.given_up.contains(&(at / SECTOR));
                left[at] = if is_new && !given_up && at < new {
                    self.content[at]
                } else if at < old && !(has_zeros && at >= self.shortest) {
                    self.durable[at]
                } else {
                    0
                };
            }
        }
        left
    }
}

/// The part of a range that is below a length.
fn within(range: Range<usize>, length: usize) -> Range<usize> {
    range.start.min(length)..range.end.min(length)
}

impl Disk {
    pub fn new() -> Self {
        let root = Node { mode: 0o755, changed: 0, kind: Kind::Folder(Folder::default()) };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            pending: Vec::new(),
            next: ROOT + 1,
            changes: 0,
            capacity: u64::MAX,
            generation: 0,
        }
    }

    pub fn attributes(&self, inode: Inode) -> Result<Attributes, Refused> {
        let node = self.nodes.get(&inode).ok_or(Refused::NotThere)?;
        let (is_folder, size) = match &node.kind {
            Kind::File(file) => (false, file.content.len() as u64),
            Kind::Folder(_) => (true, 0),
        };
        Ok(Attributes { inode, is_folder, size, mode: node.mode, changed: node.changed })
    }

    pub fn lookup(&self, folder: Inode, name: &str) -> Result<Inode, Refused> {
        self.folder(folder)?.names.get(name).copied().ok_or(Refused::NotThere)
    }

    /// The names in a folder.
    pub fn list(&self, folder: Inode) -> Result<Vec<(String, Attributes)>, Refused> {
        let names = self.folder(folder)?.names.iter();
        names.map(|(name, inode)| Ok((name.clone(), self.attributes(*inode)?))).collect()
    }

    /// Makes a file or a folder.
    pub fn make(&mut self, folder: Inode, name: &str, is_folder: bool, mode: u16) -> Result<Inode, Refused> {
        if self.lookup(folder, name).is_ok() {
            return Err(Refused::Exists);
        }
        self.folder(folder)?;
        if self.free() == 0 {
            return Err(Refused::Full);
        }
        let inode = self.next;
        self.next += 1;
        let kind = if is_folder { Kind::Folder(Folder::default()) } else { Kind::File(File::default()) };
        self.nodes.insert(inode, Node { mode, changed: 0, kind });
        self.apply(vec![Entry { folder, name: name.to_owned(), inode: Some(inode) }]);
        Ok(inode)
    }

    pub fn remove(&mut self, folder: Inode, name: &str, is_folder: bool) -> Result<(), Refused> {
        let inode = self.lookup(folder, name)?;
        match (&self.node(inode)?.kind, is_folder) {
            (Kind::Folder(folder), true) if !folder.names.is_empty() => return Err(Refused::NotEmpty),
            (Kind::Folder(_), false) => return Err(Refused::IsFolder),
            (Kind::File(_), true) => return Err(Refused::NoFolder),
            _ => {}
        }
        self.apply(vec![Entry { folder, name: name.to_owned(), inode: None }]);
        Ok(())
    }

    /// Gives a file or a folder another name, in the place of what has it unless that must not be there.
    pub fn rename(
        &mut self,
        from: (Inode, &str),
        to: (Inode, &str),
        must_be_new: bool,
    ) -> Result<(), Refused> {
        let inode = self.lookup(from.0, from.1)?;
        self.folder(to.0)?;
        if let Ok(there) = self.lookup(to.0, to.1) {
            if must_be_new {
                return Err(Refused::Exists);
            }
            if there == inode {
                return Ok(());
            }
            let is_folder = self.attributes(inode)?.is_folder;
            match &self.node(there)?.kind {
                Kind::Folder(_) if !is_folder => return Err(Refused::IsFolder),
                Kind::Folder(folder) if !folder.names.is_empty() => return Err(Refused::NotEmpty),
                Kind::File(_) if is_folder => return Err(Refused::NoFolder),
                _ => {}
            }
        }
        self.apply(vec![
            Entry { folder: from.0, name: from.1.to_owned(), inode: None },
            Entry { folder: to.0, name: to.1.to_owned(), inode: Some(inode) },
        ]);
        Ok(())
    }

    pub fn read(&self, inode: Inode, offset: u64, length: usize) -> Result<&[u8], Refused> {
        match &self.node(inode)?.kind {
            Kind::File(file) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                Ok(&file.content[within(start..start.saturating_add(length), file.content.len())])
            }
            Kind::Folder(_) => Err(Refused::IsFolder),
        }
    }

    /// Writes as much as there is room for; how many bytes that was.
    pub fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8]) -> Result<usize, Refused> {
        let free = usize::try_from(self.free()).unwrap_or(usize::MAX);
        let changed = self.tick();
        let file = self.file(inode, changed)?;
        let start = usize::try_from(offset).expect("files are small");
        let grows = (start + bytes.len()).saturating_sub(file.content.len());
        let taken = bytes.len() - grows.saturating_sub(free).min(bytes.len());
        if taken == 0 && !bytes.is_empty() {
            return Err(Refused::Full);
        }
        let end = start + taken;
        if end > file.content.len() {
            file.content.resize(end, 0);
        }
        file.content[start..end].copy_from_slice(&bytes[..taken]);
        file.given_up.retain(|sector| *sector < start / SECTOR || *sector > (end.max(1) - 1) / SECTOR);
        Ok(taken)
    }

    pub fn set_length(&mut self, inode: Inode, length: u64) -> Result<(), Refused> {
        let free = self.free();
        let changed = self.tick();
        let file = self.file(inode, changed)?;
        let length = usize::try_from(length).expect("files are small");
        if length.saturating_sub(file.content.len()) as u64 > free {
            return Err(Refused::Full);
        }
        file.content.resize(length, 0);
        file.shortest = file.shortest.min(length);
        Ok(())
    }

    pub fn set_mode(&mut self, inode: Inode, mode: u16) -> Result<(), Refused> {
        self.nodes.get_mut(&inode).ok_or(Refused::NotThere)?.mode = mode;
        Ok(())
    }

    /// Makes a file's content durable, not its name.
    pub fn sync(&mut self, inode: Inode) -> Result<(), Refused> {
        match &mut self.nodes.get_mut(&inode).ok_or(Refused::NotThere)?.kind {
            Kind::File(file) => file.sync(),
            Kind::Folder(_) => return Err(Refused::IsFolder),
        }
        Ok(())
    }

    /// Makes the names in a folder durable.
    pub fn sync_folder(&mut self, inode: Inode) -> Result<(), Refused> {
        self.folder(inode)?;
        let touches = |change: &Change| change.0.iter().any(|entry| entry.folder == inode);
        let mut chosen: Vec<bool> = self.pending.iter().map(touches).collect();
        // With each change come those that it builds on.
        for at in (0..chosen.len()).rev() {
            if chosen[at] {
                for (chosen, below) in chosen[..at].iter_mut().zip(&self.pending) {
                    *chosen |= self.pending[at].meets(below);
                }
            }
        }
        self.settle(&chosen);
        self.forget_the_removed();
        Ok(())
    }

    /// A sync that fails: what a file has to write is lost for good, although it can still be read.
    pub fn fail_sync(&mut self, inode: Inode) {
        if let Some(Node { kind: Kind::File(file), .. }) = self.nodes.get_mut(&inode) {
            file.give_up();
        }
    }

    /// How many bytes can still be written.
    pub fn free(&self) -> u64 {
        let mut reachable = BTreeSet::new();
        self.reach(ROOT, &mut reachable, |folder| &folder.names);
        let used = reachable.iter().filter_map(|inode| self.attributes(*inode).ok()).map(|found| found.size);
        self.capacity.saturating_sub(used.sum())
    }

    /// Cuts the power: what is left is what was synced, and of the rest what `random` draws.
    pub fn cut_power(&mut self, random: &mut Rng) {
        let count = self.pending.len();
        let mut chosen = vec![false; count];
        let (way, share, bound) = (random.u8(..4), random.f64(), random.usize(..=count));
        for at in 0..count {
            let wanted = match way {
                0 => true,
                1 => false,
                2 => at < bound,
                _ => random.f64() < share,
            };
            let builds_on_lost =
                (0..at).any(|below| !chosen[below] && self.pending[at].meets(&self.pending[below]));
            chosen[at] = wanted && !builds_on_lost;
        }
        self.settle(&chosen);
        self.pending.clear();
        let mut left = BTreeMap::new();
        self.keep(ROOT, &mut left, random);
        self.nodes = left;
        self.generation += 1;
    }

    /// Copies what is durable of a node and all below it.
    fn keep(&self, inode: Inode, left: &mut BTreeMap<Inode, Node>, random: &mut Rng) {
        let Some(node) = self.nodes.get(&inode) else { return };
        let kind = match &node.kind {
            Kind::File(file) => {
                let content = file.survive(random);
                let (shortest, durable) = (content.len(), content.clone());
                Kind::File(File { content, durable, shortest, given_up: BTreeSet::new() })
            }
            Kind::Folder(folder) => {
                folder.durable.values().for_each(|inode| self.keep(*inode, left, random));
                Kind::Folder(Folder { durable: folder.durable.clone(), names: folder.durable.clone() })
            }
        };
        left.insert(inode, Node { mode: node.mode, changed: node.changed, kind });
    }

    fn node(&self, inode: Inode) -> Result<&Node, Refused> {
        self.nodes.get(&inode).ok_or(Refused::NotThere)
    }

    fn folder(&self, inode: Inode) -> Result<&Folder, Refused> {
        match &self.node(inode)?.kind {
            Kind::Folder(folder) => Ok(folder),
            Kind::File(_) => Err(Refused::NoFolder),
        }
    }

    fn file(&mut self, inode: Inode, changed: u64) -> Result<&mut File, Refused> {
        let node = self.nodes.get_mut(&inode).ok_or(Refused::NotThere)?;
        node.changed = changed;
        match &mut node.kind {
            Kind::File(file) => Ok(file),
            Kind::Folder(_) => Err(Refused::IsFolder),
        }
    }

    fn tick(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// Changes names for all who look; durable it is not.
    fn apply(&mut self, entries: Vec<Entry>) {
        let changed = self.tick();
        for entry in &entries {
            let node = self.nodes.get_mut(&entry.folder).expect("it was looked at");
            node.changed = changed;
            let Kind::Folder(folder) = &mut node.kind else { unreachable!("it was looked at") };
            set(&mut folder.names, entry);
        }
        self.pending.push(Change(entries));
    }

    /// Makes the chosen changes durable.
    fn settle(&mut self, chosen: &[bool]) {
        let mut chosen = chosen.iter();
        let (settled, pending): (Vec<_>, Vec<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|_| *chosen.next().expect("one for each"));
        self.pending = pending;
        for entry in settled.iter().flat_map(|change| &change.0) {
            if let Some(Node { kind: Kind::Folder(folder), .. }) = self.nodes.get_mut(&entry.folder) {
                set(&mut folder.durable, entry);
            }
        }
    }

    /// Forgets what no name leads to, now, after a power cut or after any change that is pending. A file that is open
    /// without a name is forgotten too: nothing that is tested here reads such files.
    fn forget_the_removed(&mut self) {
        let mut kept = BTreeSet::from([ROOT]);
        self.reach(ROOT, &mut kept, |folder| &folder.names);
        self.reach(ROOT, &mut kept, |folder| &folder.durable);
        for inode in self.pending.iter().flat_map(|change| &change.0).filter_map(|entry| entry.inode) {
            kept.insert(inode);
            self.reach(inode, &mut kept, |folder| &folder.names);
            self.reach(inode, &mut kept, |folder| &folder.durable);
        }
        self.nodes.retain(|inode, _| kept.contains(inode));
    }

    fn reach(
        &self,
        inode: Inode,
        found: &mut BTreeSet<Inode>,
        names: fn(&Folder) -> &BTreeMap<String, Inode>,
    ) {
        if let Ok(folder) = self.folder(inode) {
            for inode in names(folder).values() {
                found.insert(*inode);
                self.reach(*inode, found, names);
            }
        }
    }
}

fn set(names: &mut BTreeMap<String, Inode>, entry: &Entry) {
    match entry.inode {
        Some(inode) => names.insert(entry.name.clone(), inode),
        None => names.remove(&entry.name),
    };
}

#[cfg(test)]
mod tests;
