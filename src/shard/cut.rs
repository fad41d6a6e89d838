//! The end of an epoch on one shard: its stages come to the barrier one after the other, and what they keep is written
//! while they go on.

use super::committer::Part;
use super::stage::KeyedStage;
use crate::crash::point;
use crate::io::BlockFile;
use crate::operator::{Network, SideRows, StateTable};
use crate::record::{BadRecord, Barrier};
use crate::snapshot::{Counts, PartInfo, PartSummary, PartWriter};

/// How many entries are captured in a step of the shard: some tens of microseconds.
const ENTRIES_A_STEP: usize = 1024;

/// How soon a shard that has nothing else to do looks after its file again, microseconds.
pub const LOOK_AGAIN_US: u64 = 500;

/// An epoch that is ending.
pub struct Cut {
    /// Where.
    pub barrier: Barrier,
    shard: usize,
    /// Which stages have come to the barrier.
    reached: Vec<bool>,
    counts: Counts,
    /// Those of each stage behind an exchange, in their order: a graph's come to the barrier in any.
    watermarks: Vec<Option<serde_json::Value>>,
    /// What stages have rejected behind the barrier while others had not come to it.
    pub rejected: Vec<BadRecord>,
    /// Rows of side streams of such stages.
    pub side: Vec<SideRows>,
    writing: Writing,
    /// Which stage's state is captured.
    stage: usize,
    /// Whether all has been captured.
    captured: bool,
}

/// The file of a shard.
enum Writing {
    /// None of the stages keeps anything.
    Nothing,
    Part(Box<PartWriter>),
    Failed(String),
}

/// What is written of a shard's state: by stage the number of the first of its states.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The names of the states and their tables, in the order of the data.
    pub states: Vec<(String, Vec<StateTable>)>,
    /// `[stage]`
    pub first: Vec<usize>,
}

impl Cut {
    /// The end of an epoch to which none of so many stages has come; `file` makes the shard's file.
    #[must_use]
    pub fn new(
        barrier: Barrier,
        stages: usize,
        shard: usize,
        layout: &Layout,
        file: impl FnOnce() -> std::io::Result<(Box<dyn BlockFile>, PartInfo)>,
    ) -> Self {
        let writing = if layout.states.is_empty() {
            Writing::Nothing
        } else {
            match file() {
                Ok((file, info)) => {
                    point("part-opened");
                    Writing::Part(Box::new(PartWriter::new(file, info, layout.states.clone())))
                }
                Err(error) => Writing::Failed(format!("the file of a shard cannot be made: {error}")),
            }
        };
        Self {
            barrier,
            shard,
            reached: vec![false; stages],
            counts: Counts::default(),
            watermarks: vec![None; stages - 1],
            rejected: Vec::new(),
            side: Vec::new(),
            writing,
            stage: 0,
            captured: false,
        }
    }

    /// Whether a stage is behind the barrier.
    #[must_use]
    pub fn has_reached(&self, stage: usize) -> bool {
        self.reached[stage]
    }

    /// Whether all stages are.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.reached.iter().all(|reached| *reached)
    }

    /// Notes that a stage has come to the barrier, with what it has counted and the watermarks it takes its rows by.
    pub fn reach(
        &mut self,
        stage: usize,
        network: &mut Network,
        counts: &Counts,
        watermarks: Option<serde_json::Value>,
    ) {
        self.reached[stage] = true;
        self.counts = self.counts.plus(counts);
        if let Some(behind) = stage.checked_sub(1) {
            self.watermarks[behind] = watermarks;
        }
        if matches!(self.writing, Writing::Part(_)) {
            network.begin_view();
        }
    }

    /// Writes some of what the stages keep. None while there is more to do; then the end of the epoch on this shard.
    pub fn step(
        &mut self,
        source: &mut Network,
        stages: &mut [KeyedStage],
        layout: &Layout,
    ) -> Option<Result<Part, String>> {
        let part = match &mut self.writing {
            Writing::Part(part) => part,
            Writing::Nothing => return self.is_complete().then(|| Ok(self.part(None))),
            Writing::Failed(what) => return Some(Err(what.clone())),
        };
        match part.poll() {
            Ok(false) => {}
            Ok(true) => {
                point("part-durable");
                let summary = part.summary();
                return Some(Ok(self.part(Some(summary))));
            }
            Err(error) => {
                source.end_view();
                for stage in stages {
                    stage.network.end_view();
                }
                self.writing = Writing::Failed(format!("the file of a shard cannot be written: {error}"));
                return None;
            }
        }
        if self.captured || !part.is_clear() {
            return None;
        }
        let Some(reached) = self.reached.get(self.stage) else {
            self.captured = true;
            part.finish();
            point("part-captured");
            return None;
        };
        if *reached {
            let network = match self.stage.checked_sub(1) {
                None => source,
                Some(keyed) => &mut stages[keyed].network,
            };
            match network.capture(ENTRIES_A_STEP) {
                Some((state, rows)) => part.add(layout.first[self.stage] + state, rows.table, &rows.rows),
                None => self.stage += 1,
            }
        }
        None
    }

    fn part(&mut self, summary: Option<PartSummary>) -> Part {
        Part {
            shard: self.shard,
            summary,
            counts: self.counts,
            watermarks: std::mem::take(&mut self.watermarks).into_iter().flatten().collect(),
        }
    }

    /// Whether there is something to do for the shard besides waiting for the disk.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let Writing::Part(part) = &self.writing else { return false };
        !self.captured && part.is_clear() && self.reached.get(self.stage).is_none_or(|reached| *reached)
    }
}
