//! Stages: what runs between two exchanges, and how rows get from one to the others.

use crate::operator::{Build, Part, Tail, Wiring};
use crate::record::{KeyCodec, Schema};

/// The operators between exchanges.
#[derive(Clone, Default)]
pub struct Stage {
    /// The operators, with an entry for each source or each input.
    pub wiring: Wiring,
    /// Where the rows of each exit go, `[exit]`.
    pub exits: Vec<Exit>,
    /// The exchanges by which rows come in, `[entry]`; none into the stage that reads.
    pub inputs: Vec<Input>,
}

/// Where the rows of a stage's exit go.
#[derive(Clone)]
pub enum Exit {
    /// To the stage that has the exit among its inputs.
    Exchange(Exchange),
    /// To the sink of this place in [`super::Plan::sinks`].
    Sink(usize),
}

/// Rows move to the shard that owns their key.
#[derive(Clone)]
pub struct Exchange {
    /// Positions of the key columns.
    pub columns: Vec<usize>,
    /// How their bytes are written.
    pub codec: KeyCodec,
}

/// The end of a stage whose rows come into another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// The stage.
    pub stage: usize,
    /// Its exit.
    pub exit: usize,
}

/// Rows on their way through the stages: where they come from. A union comes from several places; what it goes through
/// before it is exchanged stands behind each of them.
#[derive(Clone, Debug)]
pub(super) struct Way {
    tails: Vec<(usize, Tail)>,
}

/// Puts stages together. Rows only go from a stage to later ones.
pub(super) struct Stages {
    all: Vec<Stage>,
}

impl Stages {
    /// The stage that reads, with so many entries: for each source, and for each stream of bad records.
    pub fn new(entries: usize) -> Self {
        let wiring = Wiring { entries: vec![Vec::new(); entries], ..Wiring::default() };
        Self { all: vec![Stage { wiring, ..Stage::default() }] }
    }

    /// The rows that come in by an entry of the stage that reads.
    pub fn source(entry: usize) -> Way {
        Way { tails: vec![(0, Tail::Entry(entry))] }
    }

    /// The rows of a side stream that the operator makes at which this way ends.
    pub fn side(&mut self, way: &Way, stream: &str, schema: &Schema) -> Way {
        let side = |(stage, tail): &(usize, Tail)| {
            let Tail::Operator(place) = tail else { unreachable!("an operator makes a side stream") };
            (*stage, self.all[*stage].wiring.side(*place, stream, schema))
        };
        Way { tails: way.tails.iter().map(side).collect() }
    }

    /// The rows of all of these.
    pub fn union(ways: impl IntoIterator<Item = Way>) -> Way {
        Way { tails: ways.into_iter().flat_map(|way| way.tails).collect() }
    }

    /// Leads rows through these parts.
    pub fn lead(&mut self, way: Way, parts: impl IntoIterator<Item = Part>) -> Way {
        parts.into_iter().fold(way, |way, part| match part {
            Part::Operator(build) => {
                let behind =
                    |(stage, tail): (usize, Tail)| (stage, self.all[stage].wiring.add(tail, build.clone()));
                Way { tails: way.tails.into_iter().map(behind).collect() }
            }
            Part::Exchange { columns, codec } => self.exchange(&way, &Exchange { columns, codec }),
        })
    }

    /// Moves rows to a stage of their own.
    fn exchange(&mut self, way: &Way, exchange: &Exchange) -> Way {
        let inputs = self.send(way, exchange);
        let stage = self.begin(inputs);
        Way { tails: vec![(stage, Tail::Entries)] }
    }

    /// Leads the rows of two inputs through what stands before the join of each, whose last part is an exchange, to the
    /// operator that joins them.
    pub fn join(&mut self, ways: [Way; 2], before: [Vec<Part>; 2], build: Build) -> Way {
        let mut inputs = Vec::new();
        let mut second = 0;
        for (way, mut before) in ways.into_iter().zip(before) {
            let Some(Part::Exchange { columns, codec }) = before.pop() else {
                unreachable!("rows are exchanged before they are joined")
            };
            let way = self.lead(way, before);
            second = inputs.len();
            inputs.extend(self.send(&way, &Exchange { columns, codec }));
        }
        let stage = self.begin(inputs);
        let tail = self.all[stage].wiring.join(second, build);
        Way { tails: vec![(stage, tail)] }
    }

    /// Sends rows to where their key belongs. Returns by which ends of stages they go.
    fn send(&mut self, way: &Way, exchange: &Exchange) -> Vec<Input> {
        way.tails.iter().map(|tail| self.exit(*tail, Exit::Exchange(exchange.clone()))).collect()
    }

    /// Begins a stage. Returns its place.
    fn begin(&mut self, inputs: Vec<Input>) -> usize {
        let wiring = Wiring { entries: vec![Vec::new(); inputs.len()], ..Wiring::default() };
        self.all.push(Stage { wiring, inputs, exits: Vec::new() });
        self.all.len() - 1
    }

    /// Hands rows to a sink.
    pub fn sink(&mut self, way: &Way, sink: usize) {
        for tail in &way.tails {
            self.exit(*tail, Exit::Sink(sink));
        }
    }

    fn exit(&mut self, (stage, tail): (usize, Tail), to: Exit) -> Input {
        let number = stage;
        let stage = &mut self.all[stage];
        let exit = stage.wiring.exit(tail);
        stage.exits.push(to);
        Input { stage: number, exit }
    }

    /// The stages.
    pub fn finish(self) -> Vec<Stage> {
        self.all
    }
}
