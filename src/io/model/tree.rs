//! The names of the modelled disk: folders, what is in them now, and what would be in them after a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use super::content::Content;

/// What files and folders are known by, whatever their names.
pub(super) type Id = usize;

/// The folder that holds everything.
const ROOT: Id = 0;

/// A name's place.
type Place = (Id, String);

/// A file or folder.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) content: Content,
    /// Blocks that were handed over and are not yet known to be written: where they go, and their bytes.
    pub(super) in_flight: Vec<(usize, Vec<u8>)>,
    /// How many programs have it open.
    pub(super) handles: usize,
    /// Whether it has a name now.
    named: bool,
    folder: Option<Folder>,
}

#[derive(Debug, Default)]
struct Folder {
    names: BTreeMap<String, Id>,
    durable: BTreeMap<String, Id>,
}

/// What was done to names and is not known to be on the disk.
#[derive(Debug)]
struct Change {
    /// What has got or lost a name, and what lost its name to it.
    nodes: Vec<Id>,
    removed: Option<Place>,
    added: Option<Place>,
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        self.removed.iter().chain(&self.added)
    }

    /// Whether the order of the two matters: no disk has the later one without the earlier one.
    fn rests_on(&self, earlier: &Change) -> bool {
        self.nodes.iter().any(|node| earlier.nodes.contains(node))
            || self.places().any(|place| earlier.places().any(|other| place == other))
    }
}

/// All files, folders and names.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    changes: Vec<Change>,
}

impl Tree {
    pub(super) fn new() -> Self {
        let root = Node { named: true, folder: Some(Folder::default()), ..Node::default() };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: ROOT + 1, changes: Vec::new() }
    }

    pub(super) fn node(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("what is named or open is there")
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Id> {
        let mut found = ROOT;
        for name in names(path)? {
            found = *self.folder(found)?.get(&name).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(found)
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<Id> {
        let id = self.find(path)?;
        if self.is_folder(id) { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(id) }
    }

    pub(super) fn is_folder(&self, id: Id) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.folder.is_some())
    }

    /// The names in a folder.
    pub(super) fn folder(&self, id: Id) -> io::Result<&BTreeMap<String, Id>> {
        let node = self.nodes.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(&node.folder.as_ref().ok_or(io::ErrorKind::NotADirectory)?.names)
    }

    /// The folder of a path, and the name in it.
    fn place(&self, path: &Path) -> io::Result<Place> {
        let mut names = names(path)?;
        let name = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = self.find(&names.iter().collect::<std::path::PathBuf>())?;
        self.folder(folder)?;
        Ok((folder, name))
    }

    /// Makes a file, or a folder.
    pub(super) fn create(&mut self, path: &Path, is_folder: bool) -> io::Result<Id> {
        let place = self.place(path)?;
        if self.folder(place.0)?.contains_key(&place.1) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node { folder: is_folder.then(Folder::default), ..Node::default() });
        self.change(Change { nodes: vec![id], removed: None, added: Some(place) });
        Ok(id)
    }

    /// Removes a file, or a folder in which there is nothing.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let id = self.find(path)?;
        if self.folder(id).is_ok_and(|names| !names.is_empty()) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(Change { nodes: vec![id], removed: Some(place), added: None });
        Ok(())
    }

    /// Gives a file or folder another name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (removed, added) = (self.place(from)?, self.place(to)?);
        let id = self.find(from)?;
        let (from, to) = (names(from)?, names(to)?);
        if from != to && to.starts_with(&from) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if from != to && from.starts_with(&to) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let mut nodes = vec![id];
        if let Some(replaced) = self.folder(added.0)?.get(&added.1).copied() {
            match (self.is_folder(id), self.folder(replaced)) {
                _ if replaced == id => return Ok(()),
                (true, Err(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                (false, Ok(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                (true, Ok(names)) if !names.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                _ => nodes.push(replaced),
            }
        }
        self.change(Change { nodes, removed: Some(removed), added: Some(added) });
        Ok(())
    }

    fn change(&mut self, change: Change) {
        for id in &change.nodes {
            self.node(*id).named = false;
        }
        if change.added.is_some() {
            self.node(change.nodes[0]).named = true;
        }
        self.apply(&change, |folder| &mut folder.names);
        self.changes.push(change);
    }

    fn apply(&mut self, change: &Change, of: impl Fn(&mut Folder) -> &mut BTreeMap<String, Id>) {
        // A folder that is gone for good has no names.
        if let Some((id, name)) = &change.removed
            && let Some(folder) = self.folder_mut(*id)
        {
            of(folder).remove(name);
        }
        if let Some((id, name)) = &change.added
            && let Some(folder) = self.folder_mut(*id)
        {
            of(folder).insert(name.clone(), change.nodes[0]);
        }
    }

    fn folder_mut(&mut self, id: Id) -> Option<&mut Folder> {
        self.nodes.get_mut(&id)?.folder.as_mut()
    }

    /// Makes the changes to a folder durable, and those that they rest on; no others.
    pub(super) fn sync(&mut self, folder: Id) {
        let mut chosen = vec![false; self.changes.len()];
        for at in (0..chosen.len()).rev() {
            let change = &self.changes[at];
            chosen[at] = change.places().any(|(of, _)| *of == folder)
                || (at + 1..chosen.len()).any(|later| chosen[later] && self.changes[later].rests_on(change));
        }
        self.settle(&chosen);
        self.forget();
    }

    /// Makes the chosen changes durable.
    fn settle(&mut self, chosen: &[bool]) {
        for (change, chosen) in std::mem::take(&mut self.changes).into_iter().zip(chosen) {
            if *chosen {
                self.apply(&change, |folder| &mut folder.durable);
            } else {
                self.changes.push(change);
            }
        }
    }

    /// What is left when the power goes.
    pub(super) fn crash(&mut self, random: &mut fastrand::Rng) {
        let count = self.changes.len();
        let mut survives: Vec<bool> = match random.u8(..5) {
            0 => vec![false; count],
            1 => vec![true; count],
            2 => {
                let whole = random.usize(..=count);
                (0..count).map(|at| at < whole).collect()
            }
            _ => (0..count).map(|_| random.bool()).collect(),
        };
        for at in 0..count {
            let change = &self.changes[at];
            survives[at] &=
                !(0..at).any(|earlier| !survives[earlier] && change.rests_on(&self.changes[earlier]));
        }
        self.settle(&survives);
        self.changes.clear();
        for node in self.nodes.values_mut() {
            let in_flight = std::mem::take(&mut node.in_flight);
            node.content.crash(in_flight, random);
            node.handles = 0;
            node.named = false;
            if let Some(folder) = &mut node.folder {
                folder.names.clone_from(&folder.durable);
            }
        }
        self.forget();
    }

    /// What is left when the process ends and the power stays: all but some of what was in flight.
    pub(super) fn kill(&mut self, random: &mut fastrand::Rng) {
        for node in self.nodes.values_mut() {
            for (offset, bytes) in std::mem::take(&mut node.in_flight) {
                if random.bool() {
                    node.content.write(offset, &bytes);
                }
            }
            node.handles = 0;
        }
        self.forget();
    }

    /// Drops what nothing leads to any more, and marks what has a name.
    fn forget(&mut self) {
        let named = self.reached(vec![ROOT], false);
        let open = self.nodes.iter().filter(|(_, node)| node.handles > 0).map(|(id, _)| *id);
        let mut starts: Vec<Id> = open.chain([ROOT]).collect();
        for change in &self.changes {
            starts.extend(&change.nodes);
            starts.extend(change.places().map(|(folder, _)| *folder));
        }
        let kept = self.reached(starts, true);
        self.nodes.retain(|id, _| kept.contains(id));
        for (id, node) in &mut self.nodes {
            node.named = named.contains(id);
        }
    }

    /// What names lead to, from these on; if asked for, also names that would be back after a crash.
    fn reached(&self, mut starts: Vec<Id>, durable: bool) -> BTreeSet<Id> {
        let mut reached = BTreeSet::new();
        while let Some(id) = starts.pop() {
            if reached.insert(id)
                && let Some(folder) = self.nodes.get(&id).and_then(|node| node.folder.as_ref())
            {
                starts.extend(folder.names.values());
                starts.extend(folder.durable.values().filter(|_| durable));
            }
        }
        reached
    }

    /// The bytes that files with a name, and files that are open, take.
    pub(super) fn used(&self) -> usize {
        let held = self.nodes.values().filter(|node| node.named || node.handles > 0);
        held.map(|node| node.content.bytes().len()).sum()
    }

    pub(super) fn handles(&self) -> usize {
        self.nodes.values().map(|node| node.handles).sum()
    }

    /// Every file, with its length.
    pub(super) fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        self.collect(ROOT, "", &mut files);
        files
    }

    fn collect(&self, id: Id, prefix: &str, files: &mut Vec<(String, u64)>) {
        for (name, id) in self.folder(id).into_iter().flatten() {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if self.is_folder(*id) {
                self.collect(*id, &path, files);
            } else if let Some(node) = self.nodes.get(id) {
                files.push((path, node.content.bytes().len() as u64));
            }
        }
    }
}

/// The names along a path. There is one root, which is the working folder, too.
pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned());
            }
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}
