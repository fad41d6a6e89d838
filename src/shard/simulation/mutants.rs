//! The mutants: in each a step of the protocol is left out, and the simulation has to notice.
//!
//! Some steps of the protocol have no mutant here, because no mutant of them could be noticed:
//!
//! | step | why not |
//! |---|---|
//! | roll forward every kept epoch, not only the newest | the next epoch is asked for only once the outputs of this one are visible, and a run whose output cannot be made visible stops: an older epoch never has anything left to do |
//! | ask for the next epoch only once this one is committed | the committer has a place for one epoch, so there is no step to leave out |
//! | end an epoch only when all lanes have come to its barrier (stages, and the writer of the main output) | lanes are taken in the order of the numbers, and a lane ends all numbers before the barrier before it sends it: whoever finds it in the lane whose turn it is has everything before it from all lanes. Side streams and the quarantine, which are taken as they come, have a mutant |
//! | tell of a part only once it is durable | to the committer it is the same as a part that is not synced, or synced with blocks in flight: both are here |
//! | check the manifest's checksum | the modelled disk never changes what is durable; torn manifests are no JSON either. The tests of `snapshot/` flip bits |

use super::case::Case;
use super::run::World;
use crate::io::Ignored;
use crate::mutant::{self, Mutant};

/// A step that is left out.
pub struct Mutation {
    /// Its name.
    pub name: &'static str,
    /// After how many seeds it has to be noticed.
    pub seeds_max: u64,
    kind: Kind,
}

enum Kind {
    Code(Mutant),
    Disk(fn() -> Ignored),
}

const fn code(name: &'static str, mutant: Mutant, seeds_max: u64) -> Mutation {
    Mutation { name, seeds_max, kind: Kind::Code(mutant) }
}

const fn disk(name: &'static str, ignored: fn() -> Ignored, seeds_max: u64) -> Mutation {
    Mutation { name, seeds_max, kind: Kind::Disk(ignored) }
}

/// All of them.
pub static MUTANTS: &[Mutation] = &[
    code("alignment of side streams and quarantine", Mutant::AlignmentOfSides, 500),
    code("position one piece early", Mutant::PositionEarly, 500),
    code("position one piece late", Mutant::PositionLate, 500),
    code("outputs visible before the manifest", Mutant::OutputsBeforeManifest, 2000),
    code("outputs not synced", Mutant::OutputsNotSynced, 1000),
    code("nothing rolled forward", Mutant::NothingRolledForward, 2000),
    code("view not saved", Mutant::ViewNotSaved, 1000),
    code("watermarks not restored", Mutant::WatermarksNotRestored, 500),
    code("state not restored", Mutant::StateNotRestored, 500),
    code("operators not told that all is restored", Mutant::NotToldRestored, 1000),
    code("side rows not deferred", Mutant::SideRowsNotDeferred, 2000),
    code("bad records not deferred", Mutant::BadRecordsNotDeferred, 2000),
    code("pruned early", Mutant::PrunedEarly, 1000),
    code("committed output given up", Mutant::CommittedGivenUp, 1000),
    code("counts not restored", Mutant::CountsNotRestored, 500),
    code("litter not removed", Mutant::LitterNotRemoved, 1000),
    code("failure of a part untold", Mutant::PartFailureUntold, 2000),
    disk("manifest not synced", || Ignored::SyncOf("*/MANIFEST".to_owned()), 1000),
    disk("snapshot's folder not synced", || Ignored::SyncFolderOf("*.tmp".to_owned()), 1000),
    disk("folder of snapshots not synced", || Ignored::SyncFolderOf("*/snapshots".to_owned()), 2000),
    disk("parts not synced", || Ignored::SyncOf("*/shard-*".to_owned()), 1000),
    disk("output not synced", || Ignored::SyncOf("out/*".to_owned()), 1000),
    disk("output's folder not synced", || Ignored::SyncFolderOf("out*".to_owned()), 2000),
    disk("quarantine not synced", || Ignored::SyncOf("*/quarantine/*".to_owned()), 1000),
    disk("quarantine's folder not synced", || Ignored::SyncFolderOf("*/quarantine".to_owned()), 2000),
    disk("short blocks not written on", || Ignored::RestOfShortBlocks, 3000),
    disk("blocks in flight not waited for", || Ignored::BlocksInFlight, 3000),
    disk("output not cut", || Ignored::TruncateOf("out/*".to_owned()), 1000),
    disk("quarantine not cut", || Ignored::TruncateOf("*/quarantine/*".to_owned()), 1000),
];

impl Mutation {
    /// Runs a case without the step. None where that was noticed.
    ///
    /// # Errors
    ///
    /// What was noticed.
    pub fn run(&self, world: &mut World, case: &Case) -> Result<(), String> {
        let ignored = match &self.kind {
            Kind::Code(mutant) => {
                mutant::choose(Some(*mutant));
                Vec::new()
            }
            Kind::Disk(ignored) => vec![ignored()],
        };
        let outcome = world.run(case, &ignored);
        mutant::choose(None);
        outcome.map(drop)
    }
}
