//! Tools that try to break the built program: a disk that forgets what was not synced, kills at random instants and at
//! named points of the protocol, limits that are too small, and files that are changed behind its back. The oracle is the
//! same everywhere: what comes out at the end equals what an undisturbed run writes, nothing lost and nothing doubled.
//!
//! `MILLSTREAM_FAULTS=N` makes N cuts, kills and the like of each kind in place of a number that fits into a test run, and
//! `MILLSTREAM_SEED=N` begins with another seed. `scripts/faults` does both.

mod disk;
mod mount;
#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
#[path = "../scene/mod.rs"]
mod scene;

mod history;
mod kills;
mod pipelines;
mod power;
mod points;
mod rescale;
mod resume;
mod storage;
mod tamper;
