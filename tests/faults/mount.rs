//! The disk of [`super::disk`] as a file system of the machine, through FUSE: the kernel hands every write on at once
//! (there is no write-back cache), so what the program has not synced is what [`Disk`] has not been told to keep.
//! Operations can be counted, failed, held up, slowed down and written short.

#![expect(
    clippy::disallowed_types,
    reason = "the file system is shared between the threads that serve it and the test"
)]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::disk::{Attributes, Disk, Inode, Refused};

/// Nothing is cached: after a power cut the same names may be other files.
const NO_CACHE: Duration = Duration::ZERO;
/// So many operations are served at a time, so that a slow one does not hold up the others.
const THREADS: usize = 4;

/// What is done to operations that change something: writing, syncing, making, renaming, removing, cutting.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The number of the first operation that fails, counted from 1 since the faults were set, and how.
    pub fail: Option<(u64, Failure)>,
    /// The number of the operation, counted likewise, before which the power goes; and whether operations hang then.
    pub cut: Option<(u64, bool)>,
    /// Whether those behind the one that fails do so as well.
    pub for_good: bool,
    /// One in so many writes is cut short.
    pub short_one_in: Option<u32>,
    /// How long each operation takes.
    pub delay: Duration,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device's.
    InputOutput,
    /// There is no space.
    Full,
}

/// What operations do while the power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// They wait, as nothing comes back from a machine that is off.
    Frozen,
    /// They fail.
    Off,
}

struct State {
    disk: Disk,
    power: Power,
    faults: Faults,
    /// How many operations have come since the faults were set.
    count: u64,
    random: Rng,
}

struct Shared {
    state: Mutex<State>,
    power_changed: Condvar,
}

/// A mounted disk; unmounted when it is dropped.
pub struct Mounted {
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
    folder: tempfile::TempDir,
}

impl Mounted {
    /// An empty disk, or why there can be none on this machine.
    pub fn new() -> Result<Self, String> {
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no /dev/fuse".to_owned());
        }
        let state = State {
            disk: Disk::new(),
            power: Power::On,
            faults: Faults::default(),
            count: 0,
            random: Rng::with_seed(0),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), power_changed: Condvar::new() });
        let folder = tempfile::tempdir().expect("a scratch directory");
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("forgetful".to_owned()), MountOption::DefaultPermissions];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Served(Arc::clone(&shared)), folder.path(), &config)
            .map_err(|error| format!("a FUSE file system cannot be mounted: {error}"))?;
        Ok(Self { shared, session: Some(session), folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Cuts the power under the program: from now on its operations hang, or fail where `frozen` is not wanted. The
    /// program has to be killed before [`Mounted::power_up`].
    pub fn cut_power(&self, frozen: bool) {
        self.state().power = if frozen { Power::Frozen } else { Power::Off };
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.state().power == Power::On
    }

    /// Lets operations that hang fail, so that a killed program can end.
    pub fn release(&self) {
        self.state().power = Power::Off;
        self.shared.power_changed.notify_all();
    }

    /// Comes back from a power cut with what `random` leaves of what was not synced.
    pub fn power_up(&self, random: &mut Rng) {
        let mut state = self.state();
        assert_eq!(state.power, Power::Off, "the power was cut");
        state.disk.cut_power(random);
        state.power = Power::On;
    }

    /// Sets the faults and counts operations from 0.
    pub fn set_faults(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.count = 0;
    }

    /// How many operations have come since the faults were set.
    pub fn count(&self) -> u64 {
        self.state().count
    }

    /// Lets files hold so many bytes together.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().disk.capacity = bytes;
    }

    /// How many bytes can still be written.
    pub fn free(&self) -> u64 {
        self.state().disk.free()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nothing panics under the lock")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.release();
        let mount = self.folder.path().to_owned();
        // Lazily: what a killed program held is let go of a little after its end, rings of io_uring above all. The
        // session ends with the last of it.
        let detach = |command: &[&str]| {
            let output = Command::new(command[0]).args(&command[1..]).arg(&mount).output();
            output.is_ok_and(|output| output.status.success())
        };
        let is_detached = detach(&["umount", "-l"]) || detach(&["fusermount3", "-u", "-z"]);
        let session = self.session.take().expect("it is dropped once");
        let ended = if is_detached { session.join() } else { session.umount_and_join() };
        if let Err(error) = ended
            && !thread::panicking()
        {
            panic!("{} was not unmounted: {error}", mount.display());
        }
    }
}

/// What the kernel talks to.
struct Served(Arc<Shared>);

fn number(refused: Refused) -> Errno {
    match refused {
        Refused::NotThere => Errno::ENOENT,
        Refused::Exists => Errno::EEXIST,
        Refused::NotEmpty => Errno::ENOTEMPTY,
        Refused::IsFolder => Errno::EISDIR,
        Refused::NoFolder => Errno::ENOTDIR,
        Refused::Full => Errno::ENOSPC,
    }
}

fn utf8(name: &OsStr) -> Result<&str, Errno> {
    name.to_str().ok_or(Errno::EINVAL)
}

fn attr(found: Attributes, request: &Request) -> FileAttr {
    // The clock of the disk: a change later is a second later.
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(1_700_000_000 + found.changed);
    FileAttr {
        ino: INodeNo(found.inode),
        size: found.size,
        blocks: found.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(found),
        perm: found.mode,
        nlink: if found.is_folder { 2 } else { 1 },
        uid: request.uid(),
        gid: request.gid(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

/// What the kernel is told of a file: after a power cut it forgets what it has kept of one with the same number.
fn found(disk: &Disk, inode: Inode) -> Result<(Attributes, Generation), Errno> {
    Ok((disk.attributes(inode).map_err(number)?, Generation(disk.generation)))
}

fn kind(found: Attributes) -> FileType {
    if found.is_folder { FileType::Directory } else { FileType::RegularFile }
}

impl Served {
    /// The state, once there is power.
    fn state(&self) -> Result<MutexGuard<'_, State>, Errno> {
        let mut state = self.0.state.lock().expect("nothing panics under the lock");
        while state.power == Power::Frozen {
            state = self.0.power_changed.wait(state).expect("nothing panics under the lock");
        }
        if state.power == Power::Off { Err(Errno::EIO) } else { Ok(state) }
    }

    /// The state for an operation that changes something, after what the faults have in store for it. `at_fault` is told
    /// the state where it fails.
    fn change(&self, at_fault: impl Fn(&mut State)) -> Result<MutexGuard<'_, State>, Errno> {
        let delay = self.state()?.faults.delay;
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = self.state()?;
        state.count += 1;
        if let Some((number, is_frozen)) = state.faults.cut
            && state.count == number
        {
            state.power = if is_frozen { Power::Frozen } else { Power::Off };
            drop(state);
            state = self.state()?;
        }
        if let Some((first, failure)) = state.faults.fail
            && (state.count == first || (state.count > first && state.faults.for_good))
        {
            at_fault(&mut state);
            return Err(if failure == Failure::Full { Errno::ENOSPC } else { Errno::EIO });
        }
        Ok(state)
    }

    fn make(
        &self,
        (parent, name): (INodeNo, &OsStr),
        is_folder: bool,
        mode: u32,
        umask: u32,
    ) -> Result<(Attributes, Generation), Errno> {
        let mut state = self.change(|_| ())?;
        let mode = u16::try_from(mode & !umask & 0o7777).expect("twelve bits");
        let inode = state.disk.make(parent.0, utf8(name)?, is_folder, mode).map_err(number)?;
        found(&state.disk, inode)
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, is_folder: bool) -> Result<(), Errno> {
        self.change(|_| ())?.disk.remove(parent.0, utf8(name)?, is_folder).map_err(number)
    }

    fn write(&self, inode: Inode, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let mut state = self.change(|_| ())?;
        let is_short = state.faults.short_one_in.is_some_and(|count| state.random.u32(..count) == 0);
        // Direct writes are written in whole sectors, so half of one sector is none.
        let half = data.len() / 2 / 512 * 512;
        let data = if is_short && half > 0 { &data[..half] } else { data };
        let written = state.disk.write(inode, offset, data).map_err(number)?;
        Ok(u32::try_from(written).expect("the kernel writes less at once"))
    }
}

/// Answers with what came out.
macro_rules! answer {
    ($reply:ident, $result:expr, $found:pat => $with:expr) => {
        match $result {
            Ok($found) => $with,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Served {
    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let look = || {
            let state = self.state()?;
            let inode = state.disk.lookup(parent.0, utf8(name)?).map_err(number)?;
            found(&state.disk, inode)
        };
        answer!(reply, look(), (found, generation) => reply.entry(&NO_CACHE, &attr(found, request), generation));
    }

    fn getattr(&self, request: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let look = || self.state()?.disk.attributes(inode.0).map_err(number);
        answer!(reply, look(), found => reply.attr(&NO_CACHE, &attr(found, request)));
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = || {
            let mut state = self.change(|_| ())?;
            if let Some(size) = size {
                state.disk.set_length(inode.0, size).map_err(number)?;
            }
            if let Some(mode) = mode {
                let mode = u16::try_from(mode & 0o7777).expect("twelve bits");
                state.disk.set_mode(inode.0, mode).map_err(number)?;
            }
            state.disk.attributes(inode.0).map_err(number)
        };
        answer!(reply, change(), found => reply.attr(&NO_CACHE, &attr(found, request)));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.make((parent, name), true, mode, umask);
        answer!(reply, made, (found, generation) => reply.entry(&NO_CACHE, &attr(found, request), generation));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make((parent, name), false, mode, umask);
        answer!(reply, made, (found, generation) => {
            let attr = attr(found, request);
            reply.created(&NO_CACHE, &attr, generation, FileHandle(0), FopenFlags::empty());
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.remove(parent, name, false), () => reply.ok());
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer!(reply, self.remove(parent, name, true), () => reply.ok());
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to_parent: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let change = || {
            let must_be_new = flags == RenameFlags::RENAME_NOREPLACE;
            if !flags.is_empty() && !must_be_new {
                return Err(Errno::EINVAL);
            }
            let (from, to) = ((parent.0, utf8(name)?), (to_parent.0, utf8(to_name)?));
            self.change(|_| ())?.disk.rename(from, to, must_be_new).map_err(number)
        };
        answer!(reply, change(), () => reply.ok());
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.state(), _ => reply.opened(FileHandle(0), FopenFlags::empty()));
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let look = || {
            let state = self.state()?;
            state.disk.read(inode.0, offset, size as usize).map(<[u8]>::to_vec).map_err(number)
        };
        answer!(reply, look(), bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        answer!(reply, self.write(inode.0, offset, data), written => reply.written(written));
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Closing a file writes nothing that was not written.
        answer!(reply, self.state(), _ => reply.ok());
    }

    fn fsync(&self, _: &Request, inode: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let change =
            || self.change(|state| state.disk.fail_sync(inode.0))?.disk.sync(inode.0).map_err(number);
        answer!(reply, change(), () => reply.ok());
    }

    fn fsyncdir(&self, _: &Request, inode: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let change = || self.change(|_| ())?.disk.sync_folder(inode.0).map_err(number);
        answer!(reply, change(), () => reply.ok());
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let look = || self.state()?.disk.list(inode.0).map_err(number);
        answer!(reply, look(), names => {
            let own = [(".", inode, FileType::Directory), ("..", inode, FileType::Directory)];
            let names = names.iter().map(|(name, found)| (name.as_str(), INodeNo(found.inode), kind(*found)));
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            for (at, (name, inode, kind)) in own.into_iter().chain(names).enumerate().skip(from) {
                if reply.add(inode, at as u64 + 1, kind, name) {
                    break;
                }
            }
            reply.ok();
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        answer!(reply, self.state(), state => {
            let free = state.disk.free().min(1 << 40) / 4096;
            reply.statfs(1 << 28, free, free, 1 << 20, 1 << 20, 4096, 255, 4096);
        });
    }
}

#[cfg(test)]
mod tests;
