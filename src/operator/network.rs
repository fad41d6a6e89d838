//! The operators of one stage of one shard, and how rows get from one to the others.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::side_way::{SideWay, collect, take_side};
use super::{Build, Captured, Context, Operator, StateSize, StateTable};
use crate::record::{Batch, Interleaved, Schema};

/// The operators of a stage, and where the rows of each go.
#[derive(Clone, Default)]
pub struct Wiring {
    /// In an order in which rows go forward only, each with where its rows go.
    pub operators: Vec<(Build, Vec<Target>)>,
    /// For each entry of the stage where what comes in by it goes.
    pub entries: Vec<Vec<Target>>,
    /// How many exits the stage has.
    pub exits: usize,
    /// The rows that leave operators beside their output and go on in the stage.
    pub sides: Vec<SideWiring>,
}

/// Rows that leave an operator beside its output, and where they go within the stage.
#[derive(Clone)]
pub struct SideWiring {
    /// The place of the operator.
    pub operator: usize,
    /// The side stream.
    pub stream: Arc<str>,
    /// Its columns.
    pub schema: Schema,
    /// Where its rows go.
    pub targets: Vec<Target>,
}

/// Where rows go within a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To the operator of this place, by this port.
    Operator(usize, usize),
    /// Out of the stage by this exit.
    Exit(usize),
}

/// Where what has been wired so far ends: whose rows the next operator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// They come into the stage by this entry.
    Entry(usize),
    /// They come into the stage by any entry, and have been put in order there.
    Entries,
    /// The operator of this place makes them.
    Operator(usize),
    /// They leave an operator by the side stream of this place in [`Wiring::sides`].
    Side(usize),
}

impl Wiring {
    /// One operator behind the other, from one entry to one exit.
    #[must_use]
    pub fn chain<'a>(builds: impl IntoIterator<Item = &'a Build>) -> Self {
        let mut wiring = Self { entries: vec![Vec::new()], ..Self::default() };
        let mut at = Tail::Entry(0);
        for build in builds {
            at = wiring.add(at, build.clone());
        }
        wiring.exit(at);
        wiring
    }

    /// Adds an operator behind `from`. Returns where its rows come from.
    pub fn add(&mut self, from: Tail, build: Build) -> Tail {
        let place = self.operators.len();
        self.aim(from, Target::Operator(place, 0));
        self.operators.push((build, Vec::new()));
        Tail::Operator(place)
    }

    /// An operator of two inputs, which begins a stage: it takes the rows of the entries before `second` by port 0, and
    /// those of the others by port 1. Returns where its rows come from.
    pub fn join(&mut self, second: usize, build: Build) -> Tail {
        debug_assert!(self.operators.is_empty(), "it is the first of its stage");
        for entry in 0..self.entries.len() {
            self.aim(Tail::Entry(entry), Target::Operator(0, usize::from(entry >= second)));
        }
        self.operators.push((build, Vec::new()));
        Tail::Operator(0)
    }

    /// The rows of a side stream that the operator of this place makes. Returns where they come from.
    pub fn side(&mut self, operator: usize, stream: &str, schema: &Schema) -> Tail {
        self.sides.push(SideWiring {
            operator,
            stream: stream.into(),
            schema: schema.clone(),
            targets: Vec::new(),
        });
        Tail::Side(self.sides.len() - 1)
    }

    /// Adds an exit behind `from`. Returns its place.
    pub fn exit(&mut self, from: Tail) -> usize {
        let exit = self.exits;
        self.aim(from, Target::Exit(exit));
        self.exits += 1;
        exit
    }

    /// Whether what comes by one entry is told apart from what comes by another.
    #[must_use]
    pub fn tells_entries_apart(&self) -> bool {
        self.entries.iter().any(|targets| *targets != self.entries[0])
    }

    /// The builders of the operators.
    pub fn builds(&self) -> impl Iterator<Item = &Build> {
        self.operators.iter().map(|(build, _)| build)
    }

    /// Whether rows from here may leave by this exit.
    #[must_use]
    pub fn leads(&self, from: Tail, exit: usize) -> bool {
        let behind = |targets: &[Target]| {
            targets.iter().any(|target| match target {
                Target::Exit(other) => *other == exit,
                Target::Operator(place, _) => self.leads(Tail::Operator(*place), exit),
            })
        };
        match from {
            Tail::Entry(entry) => behind(&self.entries[entry]),
            Tail::Entries => self.entries.iter().any(|targets| behind(targets)),
            Tail::Operator(place) => {
                let sides = self.sides.iter().filter(|side| side.operator == place);
                behind(&self.operators[place].1) || sides.into_iter().any(|side| behind(&side.targets))
            }
            Tail::Side(place) => behind(&self.sides[place].targets),
        }
    }

    fn aim(&mut self, from: Tail, target: Target) {
        match from {
            Tail::Entry(entry) => self.entries[entry].push(target),
            Tail::Entries => self.entries.iter_mut().for_each(|entry| entry.push(target)),
            Tail::Operator(place) => self.operators[place].1.push(target),
            Tail::Side(place) => self.sides[place].targets.push(target),
        }
    }
}

/// The operators of a stage at work: output is pulled through them batch by batch.
pub struct Network {
    operators: Vec<Box<dyn Operator>>,
    /// Where the rows of each operator go.
    targets: Vec<Vec<Target>>,
    entries: Vec<Vec<Target>>,
    /// Which operators keep state.
    keeping: Vec<usize>,
    /// How many of these have handed out all of the view that has begun.
    captured: usize,
    /// What has come to an exit and has not been pulled.
    out: VecDeque<(usize, Batch)>,
    /// The side streams that go on in the stage.
    sides: Vec<SideWay>,
    /// What the operators tell besides their rows.
    pub context: Context,
}

impl Network {
    /// The running form of a stage's operators.
    #[must_use]
    pub fn new(wiring: &Wiring) -> Self {
        let keeps = |(_, build): &(usize, &Build)| build.state.is_some();
        let keeping: Vec<usize> = wiring.builds().enumerate().filter(keeps).map(|(place, _)| place).collect();
        Self {
            operators: wiring.builds().map(|build| (build.build)()).collect(),
            targets: wiring.operators.iter().map(|(_, targets)| targets.clone()).collect(),
            entries: wiring.entries.clone(),
            captured: keeping.len(),
            keeping,
            out: VecDeque::new(),
            sides: wiring.sides.iter().map(SideWay::new).collect(),
            context: Context::default(),
        }
    }

    /// One operator behind the other, from one entry to one exit.
    #[must_use]
    pub fn chain<'a>(builds: impl IntoIterator<Item = &'a Build>) -> Self {
        Self::new(&Wiring::chain(builds))
    }

    /// Hands in a batch by this entry; only after [`Network::pull`] has returned none.
    pub fn push(&mut self, entry: usize, batch: Batch) {
        let Self { entries, operators, out, sides, context, .. } = self;
        deliver(&entries[entry], batch, &mut Receivers { operators, out, sides, context });
    }

    /// Hands in what has come by several entries, which are told apart; only after [`Network::pull`] has returned none.
    pub fn push_interleaved(&mut self, mut input: Interleaved) {
        let port_of = |entry: usize| match self.entries[entry].as_slice() {
            [Target::Operator(0, port)] => *port,
            _ => unreachable!("entries that are told apart lead to an operator of several inputs"),
        };
        input.batches.iter_mut().for_each(|(entry, _)| *entry = port_of(*entry));
        debug_assert!(self.sides.iter().all(|side| side.operator != 0), "a join has no side streams");
        self.operators[0].push_interleaved(input, &mut self.context);
    }

    /// The next batch, and the exit by which it leaves; none once what was pushed last is used up.
    pub fn pull(&mut self) -> Option<(usize, Batch)> {
        let mut from = self.operators.len();
        loop {
            if let Some(out) = self.out.pop_front() {
                return Some(out);
            }
            // The last first: what an operator makes then finds those behind it with nothing left.
            from = from.checked_sub(1)?;
            let Self { operators, out, sides, context, targets, .. } = self;
            let told = context.side.len();
            let pulled = operators[from].pull(context);
            collect(sides, from, &context.side[told..]);
            let count = operators.len();
            if let Some(batch) = pulled {
                deliver(&targets[from], batch, &mut Receivers { operators, out, sides, context });
                from = count;
            } else if let Some((side, batch)) = take_side(sides, from) {
                // The operator has made all of its output of a batch: what it has set aside of it goes its own way.
                let targets = sides[side].targets.clone();
                deliver(&targets, batch, &mut Receivers { operators, out, sides, context });
                from = count;
            }
        }
    }

    /// What the operators that keep state keep now, in their order.
    pub fn states(&self) -> impl Iterator<Item = StateSize> {
        self.keeping.iter().map(|place| self.operators[*place].state())
    }

    /// The tables in which the operators that keep state save it, `[operator][table]`, in their order.
    #[must_use]
    pub fn tables(&self) -> Vec<Vec<StateTable>> {
        self.keeping.iter().map(|place| self.operators[*place].tables()).collect()
    }

    /// Begins a view of the state as it is now; only after [`Network::pull`] has returned none.
    pub fn begin_view(&mut self) {
        debug_assert!(self.out.is_empty(), "all output has been pulled");
        for place in &self.keeping {
            self.operators[*place].begin_view();
        }
        self.captured = 0;
    }

    /// The next rows of the view, of about `rows` entries, and whose they are: the place of the operator in
    /// [`Network::tables`]. None once all of it has been handed out, which ends the view. Asked at any time, between or
    /// amid batches.
    pub fn capture(&mut self, rows: usize) -> Option<(usize, Captured)> {
        while let Some(place) = self.keeping.get(self.captured) {
            if let Some(captured) = self.operators[*place].capture(rows) {
                return Some((self.captured, captured));
            }
            self.captured += 1;
        }
        None
    }

    /// Gives the view up.
    pub fn end_view(&mut self) {
        for place in &self.keeping {
            let operator = &mut self.operators[*place];
            operator.end_view();
            debug_assert!(operator.capture(1).is_none(), "nothing is handed out of a view that was given up");
        }
        self.captured = self.keeping.len();
    }

    /// Hands saved rows to the operator at this place in [`Network::tables`]; before the first batch.
    pub fn restore(&mut self, operator: usize, table: usize, rows: &RecordBatch) {
        self.operators[self.keeping[operator]].restore(table, rows);
    }

    /// All saved rows have been handed over.
    pub fn restored(&mut self) {
        for place in &self.keeping {
            self.operators[*place].restored();
        }
    }
}

/// What takes batches within a stage.
struct Receivers<'a> {
    operators: &'a mut [Box<dyn Operator>],
    out: &'a mut VecDeque<(usize, Batch)>,
    sides: &'a mut [SideWay],
    context: &'a mut Context,
}

/// Hands a batch to each of these; rows are shared, not copied.
fn deliver(targets: &[Target], batch: Batch, to: &mut Receivers<'_>) {
    let mut hand = |target: Target, batch: Batch| match target {
        Target::Operator(place, _) => {
            for side in to.sides.iter_mut().filter(|side| side.operator == place) {
                side.begin(&batch);
            }
            let told = to.context.side.len();
            to.operators[place].push(batch, to.context);
            collect(to.sides, place, &to.context.side[told..]);
        }
        Target::Exit(exit) => to.out.push_back((exit, batch)),
    };
    let Some((last, others)) = targets.split_last() else { return };
    for target in others {
        hand(*target, batch.clone());
    }
    hand(*last, batch);
}
