//! The rows that expressions see: what has been taken by variables so far, as columns.
//!
//! `F.price` is a field of a column `F` that holds the last row of F, and `SUM(F.price)` is a column of results. So an
//! ordinary expression is evaluated over one row for each match, or for each way that may become one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Fields};

use super::search::{History, Search};
use crate::aggregate::{Accumulator, Call, accumulator};
use crate::expr::Expr;
use crate::operator::payload::Payload;
use crate::record::Schema;

/// Where a column comes from. Columns are told by their positions in the input, or among those that are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A column of the key.
    Key(usize),
    /// A column of the last row so far.
    Current(usize),
    /// Columns of the last row that a variable has taken, as one column of rows; NULL where it has taken none.
    Last(u8, Vec<usize>),
}

/// A call over the rows of a variable, or over all rows.
#[derive(Clone, Debug)]
pub(super) struct RowCall {
    /// None for all rows.
    pub of: Option<u8>,
    pub what: What,
    /// Over [`View::inner`].
    pub arguments: Vec<Expr>,
    /// Over [`View::inner`].
    pub filter: Option<Expr>,
}

/// What a call yields.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// The argument's value in one row, counted from an end.
    Nth { from_last: bool, offset: usize },
    /// An aggregate.
    Aggregate(Call),
}

/// The columns that expressions read.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The columns of `sources`, then one for each of `calls`.
    pub schema: Schema,
    pub sources: Vec<Source>,
    pub calls: Vec<RowCall>,
    /// The columns that the calls' arguments read; of one row each.
    pub inner: Inner,
}

/// Columns that are all made of one row: the current row and the row of each variable are the same.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    pub schema: Schema,
    pub sources: Vec<Source>,
}

impl Source {
    /// The positions of the columns that are read.
    fn positions(&self) -> &[usize] {
        match self {
            Self::Key(_) => &[],
            Self::Current(position) => std::slice::from_ref(position),
            Self::Last(_, positions) => positions,
        }
    }

    /// The same among these positions.
    fn among(&self, kept: &[usize]) -> Self {
        let place = |position: &usize| kept.iter().position(|other| other == position).expect("it is kept");
        match self {
            Self::Key(position) => Self::Key(*position),
            Self::Current(position) => Self::Current(place(position)),
            Self::Last(variable, positions) => Self::Last(*variable, positions.iter().map(place).collect()),
        }
    }
}

impl Inner {
    /// The columns over rows of which these are the columns.
    pub fn rows(&self, columns: &[ArrayRef], count: usize) -> RecordBatch {
        let fields = self.schema.arrow().fields();
        let made = self.sources.iter().zip(fields).map(|(source, field)| match source {
            Source::Key(position) | Source::Current(position) => columns[*position].clone(),
            Source::Last(_, positions) => {
                let values = positions.iter().map(|position| columns[*position].clone()).collect();
                Arc::new(StructArray::new(fields_of(field.data_type()), values, None))
            }
        });
        self.schema.rows(made.collect(), count)
    }
}

fn fields_of(data_type: &DataType) -> Fields {
    match data_type {
        DataType::Struct(fields) => fields.clone(),
        other => unreachable!("the rows of a variable are a column of rows, not {other}"),
    }
}

impl View {
    /// The positions of the columns that are read, in no order.
    pub fn positions(&self) -> impl Iterator<Item = usize> {
        self.sources.iter().chain(&self.inner.sources).flat_map(Source::positions).copied()
    }

    /// The same over the columns that are kept, at these positions.
    pub fn among(&self, kept: &[usize]) -> Self {
        let among = |sources: &[Source]| sources.iter().map(|source| source.among(kept)).collect();
        let inner = Inner { schema: self.inner.schema.clone(), sources: among(&self.inner.sources) };
        Self { sources: among(&self.sources), inner, ..self.clone() }
    }

    /// Adds what it reads of the rows that each variable has taken; `[variable]`.
    pub fn read_histories(&self, histories: &mut [History]) {
        for source in &self.sources {
            if let Source::Last(variable, _) = source {
                let history = &mut histories[usize::from(*variable)];
                history.last = history.last.max(1);
            }
        }
        for call in &self.calls {
            let Some(variable) = call.of else { continue };
            let history = &mut histories[usize::from(variable)];
            match call.what {
                What::Nth { from_last: true, offset } => history.last = history.last.max(offset + 1),
                What::Nth { from_last: false, offset } => history.first = history.first.max(offset + 1),
                What::Aggregate(_) if call.arguments.is_empty() && call.filter.is_none() => {
                    history.count = true;
                }
                What::Aggregate(_) => history.all = true,
            }
        }
    }
}

/// Rows of one key that follow one another, each with the variable that has taken it.
#[derive(Clone, Copy)]
pub(super) struct Mapping<'a> {
    pub search: &'a Search,
    /// The number of the first row.
    pub row: u64,
    pub variables: &'a [u8],
    /// The variable of one more row behind these.
    pub also: Option<u8>,
}

impl<'a> Mapping<'a> {
    fn len(&self) -> usize {
        self.variables.len() + usize::from(self.also.is_some())
    }

    /// The places of the rows of a variable, or of all rows.
    fn places(&self, of: Option<u8>) -> impl DoubleEndedIterator<Item = usize> {
        let variables = self.variables.iter().copied().chain(self.also);
        let count = self.len();
        let variables: Vec<u8> = variables.collect();
        (0..count).filter(move |place| of.is_none_or(|of| variables[*place] == of))
    }

    /// The number of its last row.
    pub fn last_number(&self) -> u64 {
        self.row + self.len() as u64 - 1
    }

    /// The bytes of its last row.
    pub fn last_bytes(&self) -> &'a [u8] {
        self.bytes(self.len() - 1)
    }

    fn bytes(&self, place: usize) -> &'a [u8] {
        &self.search.row(self.row + place as u64).bytes
    }
}

/// Rows that are read, each once.
struct Picked<'a, 'b> {
    mappings: &'b [Mapping<'a>],
    /// `[mapping][place]`: where it is among the rows that are read.
    places: Vec<Vec<u32>>,
    rows: Vec<&'a [u8]>,
}

impl<'a, 'b> Picked<'a, 'b> {
    fn new(mappings: &'b [Mapping<'a>]) -> Self {
        Self { mappings, places: vec![Vec::new(); mappings.len()], rows: Vec::new() }
    }

    fn pick(&mut self, mapping: usize, place: usize) -> u32 {
        let places = &mut self.places[mapping];
        if places.is_empty() {
            places.resize(self.mappings[mapping].len(), u32::MAX);
        }
        if places[place] == u32::MAX {
            places[place] = u32::try_from(self.rows.len()).expect("far below 4 G rows are read at once");
            self.rows.push(self.mappings[mapping].bytes(place));
        }
        places[place]
    }
}

/// Makes the columns of a view.
pub(super) struct Viewer {
    view: View,
    /// `[call]`; none for a call that is no aggregate.
    accumulators: Vec<Option<Box<dyn Accumulator>>>,
}

/// The rows that a call reads: which mapping's, and where they are among the rows that are read.
#[derive(Default)]
struct Read {
    mappings: Vec<u32>,
    rows: Vec<u32>,
}

impl Viewer {
    /// For a view of columns that are kept.
    pub fn new(view: &View) -> Self {
        let accumulators = view.calls.iter().map(|call| match &call.what {
            What::Nth { .. } => None,
            What::Aggregate(call) => Some(accumulator(call)),
        });
        Self { view: view.clone(), accumulators: accumulators.collect() }
    }

    /// The columns over these mappings, one row each, with those of their keys; and the mappings for which something
    /// could not be evaluated, with the reason: there the columns mean nothing.
    pub fn rows(
        &mut self,
        mappings: &[Mapping],
        keys: &[ArrayRef],
        payload: &Payload,
    ) -> (RecordBatch, Vec<(u32, String)>) {
        let mut picked = Picked::new(mappings);
        let sources: Vec<UInt32Array> =
            self.view.sources.iter().map(|source| last_rows(source, mappings, &mut picked)).collect();
        let reads: Vec<Read> =
            self.view.calls.iter().map(|call| rows_of_call(call, mappings, &mut picked)).collect();
        let kept = payload.decode(picked.rows.iter().copied());
        let fields = self.view.schema.arrow().fields().clone();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        for ((source, rows), field) in self.view.sources.iter().zip(&sources).zip(&fields) {
            let column =
                |position: &usize| take(&kept[*position], rows, None).expect("the rows were decoded");
            columns.push(match source {
                Source::Key(position) => keys[*position].clone(),
                Source::Current(position) => column(position),
                Source::Last(_, positions) => {
                    let values = positions.iter().map(column).collect();
                    let nulls: Option<NullBuffer> = rows.nulls().cloned();
                    Arc::new(StructArray::new(fields_of(field.data_type()), values, nulls))
                }
            });
        }
        let mut failed = Vec::new();
        for (index, read) in reads.iter().enumerate() {
            columns.push(self.result(index, read, &kept, mappings.len(), &mut failed));
        }
        failed.sort();
        failed.dedup_by_key(|(mapping, _)| *mapping);
        (self.view.schema.rows(columns, mappings.len()), failed)
    }

    /// The results of a call, one for each mapping.
    fn result(
        &mut self,
        index: usize,
        read: &Read,
        kept: &[ArrayRef],
        count: usize,
        failed: &mut Vec<(u32, String)>,
    ) -> ArrayRef {
        let call = &self.view.calls[index];
        let expressions: Vec<&Expr> = call.arguments.iter().chain(&call.filter).collect();
        let mut values = Vec::with_capacity(expressions.len());
        if !expressions.is_empty() {
            let positions = UInt32Array::from(read.rows.clone());
            let of_rows = |column: &ArrayRef| take(column, &positions, None).expect("the rows were decoded");
            let rows = self.view.inner.rows(&kept.iter().map(of_rows).collect::<Vec<_>>(), read.rows.len());
            for expression in expressions {
                let evaluated = expression.evaluate_at(&rows, 0);
                let of_mapping = |(row, why): (u32, String)| (read.mappings[row as usize], why);
                failed.extend(evaluated.failed.into_iter().map(of_mapping));
                values.push(evaluated.values);
            }
        }
        let groups = u32::try_from(count).expect("far below 4 G mappings at once");
        let Some(accumulator) = &mut self.accumulators[index] else {
            // One value for each mapping that has such a row.
            let mut places: Vec<Option<u32>> = vec![None; count];
            (0..).zip(&read.mappings).for_each(|(place, mapping)| places[*mapping as usize] = Some(place));
            return take(&values[0], &UInt32Array::from(places), None).expect("as many values as rows");
        };
        let filter: Option<BooleanArray> =
            call.filter.as_ref().and_then(|_| values.pop()).map(|filter| filter.as_boolean().clone());
        accumulator.resize(count);
        let rows: Vec<u32> = (0..).take(read.mappings.len()).collect();
        accumulator.add(&rows, &read.mappings, &values, filter.as_ref());
        let all: Vec<u32> = (0..groups).collect();
        let results = accumulator.finish(&all);
        accumulator.clear(&all);
        results
    }
}

/// For each mapping the row that a column comes from, among those that are read.
fn last_rows(source: &Source, mappings: &[Mapping], picked: &mut Picked) -> UInt32Array {
    let of = match source {
        Source::Key(_) => return UInt32Array::from(Vec::<u32>::new()),
        Source::Current(_) => None,
        Source::Last(variable, _) => Some(*variable),
    };
    let last = mappings.iter().enumerate().map(|(index, mapping)| {
        let place = mapping.places(of).next_back()?;
        Some(picked.pick(index, place))
    });
    last.collect::<Vec<Option<u32>>>().into()
}

/// The rows that a call reads of each mapping, in their order.
fn rows_of_call(call: &RowCall, mappings: &[Mapping], picked: &mut Picked) -> Read {
    let mut read = Read::default();
    let needs_rows = !call.arguments.is_empty() || call.filter.is_some();
    for (number, (index, mapping)) in (0..).zip(mappings.iter().enumerate()) {
        let mut add = |place: usize| {
            read.mappings.push(number);
            // Where rows are only counted, nothing is read of them.
            read.rows.push(if needs_rows { picked.pick(index, place) } else { 0 });
        };
        let mut places = mapping.places(call.of);
        match call.what {
            What::Nth { from_last: true, offset } => places.nth_back(offset).into_iter().for_each(add),
            What::Nth { from_last: false, offset } => places.nth(offset).into_iter().for_each(add),
            What::Aggregate(_) => places.for_each(&mut add),
        }
    }
    read
}
