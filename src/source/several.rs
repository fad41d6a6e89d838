//! All sources of a pipeline as one input: they take turns, piece by piece, so that the numbers of their blocks are those of
//! one input, and a barrier is one number for all.
//!
//! Round r of the turns has the r-th piece of every source, in the order of the file; a source that has ended is left out.
//! Every shard reads its pieces in the order of their numbers, and so waits where the source whose turn it is has nothing yet.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Extent, Opened, Opening, Position, Reader, Resume, Source, SourceError};
use crate::record::Barrier;

/// Which of how many sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Its place among them.
    pub place: usize,
    /// How many there are.
    pub of: usize,
    /// How many turns of others come before its first.
    pub ahead: u64,
}

impl Turn {
    /// That of a source that is alone.
    pub const ALONE: Self = Self { place: 0, of: 1, ahead: 0 };
}

/// The opened sources of a pipeline.
pub struct Inputs {
    /// `[shard][source]`
    pub readers: Vec<Vec<Box<dyn Reader + Send>>>,
    /// The splits of all sources as the user knows them, those of each together.
    pub splits: Vec<Arc<str>>,
    /// The first split of each source, `[source]`.
    pub first_splits: Vec<usize>,
    /// How large the input is, where that is known of all in one unit.
    pub extent: Option<Extent>,
    /// How much of it had been read where this run goes on, in the unit of the extent.
    pub done: u64,
    /// The first block number that each shard reads of each source, `[shard][source]`.
    pub first: Vec<Vec<u64>>,
    /// What a snapshot keeps of the input.
    pub position: Position,
}

/// Opens all sources, each with its name, for `shards` shards: `opening` says what one needs to know, given its turn and
/// where it goes on.
///
/// # Errors
///
/// If one cannot be had.
pub fn open_all(
    sources: &[(Arc<str>, &dyn Source)],
    shards: usize,
    resume: Option<&Resume>,
    opening: impl Fn(Turn, Option<Resume>) -> Opening,
) -> Result<Inputs, SourceError> {
    let mut inputs = Inputs {
        readers: (0..shards).map(|_| Vec::new()).collect(),
        splits: Vec::new(),
        first_splits: Vec::new(),
        extent: None,
        done: 0,
        first: vec![Vec::new(); shards],
        position: Box::new(|_| Ok(Value::Null)),
    };
    let mut positions = Vec::new();
    for (place, (name, source)) in sources.iter().enumerate() {
        let turn = Turn { place, of: sources.len(), ahead: place as u64 };
        let (turn, from) = match resume {
            Some(resume) => part_of(resume, turn, name).map(|(turn, resume)| (turn, Some(resume)))?,
            None => (turn, None),
        };
        let Opened { readers, splits, extent, done, numbering, position } =
            source.open(&opening(turn, from))?;
        for (all, reader) in inputs.readers.iter_mut().zip(readers) {
            all.push(reader);
        }
        for (all, first) in inputs.first.iter_mut().zip(numbering.first(shards)) {
            all.push(first);
        }
        inputs.first_splits.push(inputs.splits.len());
        inputs.splits.extend(splits);
        inputs.extent = match (place, inputs.extent, extent) {
            (0, _, extent) => extent,
            (_, Some(Extent::Bytes(before)), Some(Extent::Bytes(more))) => Some(Extent::Bytes(before + more)),
            (_, Some(Extent::Rows(before)), Some(Extent::Rows(more))) => Some(Extent::Rows(before + more)),
            _ => None,
        };
        inputs.done += done;
        positions.push((name.clone(), numbering, position));
    }
    inputs.position = match positions.len() {
        1 => positions.remove(0).2,
        _ => Box::new(move |barrier| {
            let mut all = Map::new();
            for (name, numbering, position) in &positions {
                let piece = numbering.piece(barrier.number);
                let ahead = numbering.turns_ahead(barrier.number);
                let position = position(Barrier { piece, ..barrier })?;
                let part = serde_json::json!({ "piece": piece, "turns_ahead": ahead, "position": position });
                all.insert(name.to_string(), part);
            }
            Ok(Value::Object(all))
        }),
    };
    Ok(inputs)
}

/// Where one of several sources goes on, and in which turn: the order of all is that of a run without an end between.
fn part_of(resume: &Resume, turn: Turn, name: &str) -> Result<(Turn, Resume), SourceError> {
    if turn == Turn::ALONE {
        return Ok((turn, resume.clone()));
    }
    let missing = || SourceError::Position(format!("nothing is said of the source `{name}`"));
    let part = resume.position.get(name).ok_or_else(missing)?;
    let number = |of: &str| part.get(of).and_then(Value::as_u64);
    let (Some(piece), Some(ahead), Some(position)) =
        (number("piece"), number("turns_ahead"), part.get("position"))
    else {
        return Err(missing());
    };
    let resume = Resume { barrier: Barrier { piece, ..resume.barrier }, position: position.clone() };
    Ok((Turn { ahead, ..turn }, resume))
}
