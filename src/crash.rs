//! Named points of the protocol at which a test build can be made to end as if it were killed.
//!
//! `MILLSTREAM_CRASH_AT=NAME:N` ends the process the N-th time (the first without `:N`) that it comes to a point, and
//! `MILLSTREAM_CRASH_AT=list` has `run` print all names. In a release build there are none of this.

/// The names of all points, in the order of a run.
pub const POINTS: &[&str] = &[
    "folder-prepared",
    "rolled-forward",
    "outputs-opened",
    "shard-restored",
    "barrier-asked",
    "part-opened",
    "part-captured",
    "part-durable",
    "epoch-staged",
    "outputs-synced",
    "manifest-written",
    "manifest-synced",
    "folder-synced",
    "folder-renamed",
    "epoch-committed",
    "output-committed",
    "snapshot-hidden",
    "snapshots-pruned",
    "input-complete",
    "all-committed",
];

/// Comes to a point.
#[cfg(debug_assertions)]
pub fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rustix::process::{Signal, getpid, kill_process};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static TIMES: AtomicU64 = AtomicU64::new(0);
    debug_assert!(POINTS.contains(&name), "`{name}` is not among the points");
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var("MILLSTREAM_CRASH_AT").ok()?;
        let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), times.parse().unwrap_or(1)))
    });
    let Some((wanted, times)) = wanted else { return };
    if wanted == name && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *times {
        // Without unwinding, and without a core file.
        let _ = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// Comes to a point.
#[cfg(not(debug_assertions))]
#[inline]
pub fn point(_: &'static str) {}

/// Whether the names of all points are asked for.
#[must_use]
pub fn is_list_asked_for() -> bool {
    cfg!(debug_assertions) && std::env::var("MILLSTREAM_CRASH_AT").is_ok_and(|wanted| wanted == "list")
}
