//! The running form of `lookup`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Fields};

use super::super::expression::evaluate_all;
use super::super::{Context, Operator};
use crate::expr::{Expr, TableKey};
use crate::record::{Batch, EventTimes, KeyCodec, Schema};
use crate::table::{Index, Reader, Table};

/// The time whose version of a row is wanted.
#[derive(Clone, Debug)]
pub(super) enum AsOf {
    /// The event time of the row that is looked up.
    EventTime,
    /// What an expression over that row comes to.
    Expression(Expr),
}

/// What lookups are made from.
pub(super) struct Recipe {
    table: Arc<Table>,
    inner: bool,
    /// The values of the key, then the time if it is an expression.
    expressions: Vec<Expr>,
    as_of: Option<AsOf>,
    codec: KeyCodec,
    input: Schema,
    output: Schema,
    found: Option<Found>,
}

/// The column of what was found.
#[derive(Clone)]
struct Found {
    fields: Fields,
    /// The position of each field among the columns of the table.
    columns: Vec<usize>,
}

/// Looks rows up.
pub(super) struct Lookup {
    recipe: Arc<Recipe>,
    reader: Reader,
    /// No rows: block ends pass without them.
    empty: RecordBatch,
    bytes: Vec<u8>,
    ends: Vec<u32>,
    ready: Option<Batch>,
}

impl Lookup {
    /// What makes lookups in a table of rows of `input`; the columns of `output` are those of the input, and the table's
    /// where one is wanted.
    pub fn recipe(
        table: &Arc<Table>,
        inner: bool,
        keys: &[TableKey],
        as_of: Option<AsOf>,
        input: &Schema,
        output: &Schema,
    ) -> Arc<Recipe> {
        let mut expressions: Vec<Expr> = keys.iter().map(|key| key.value.clone()).collect();
        let types = expressions.iter().map(|key| key.data_type().clone()).collect();
        let codec = KeyCodec::new(types).expect("the table's key was checked");
        if let Some(AsOf::Expression(expression)) = &as_of {
            expressions.push(expression.clone());
        }
        let found = output.arrow().fields().get(input.columns().len()).map(|field| {
            let DataType::Struct(fields) = field.data_type() else { unreachable!("a ROW is a struct") };
            let column =
                |name: &String| table.schema.index_of(name).expect("a field is a column of the table");
            let columns = fields.iter().map(|field| column(field.name())).collect();
            Found { fields: fields.clone(), columns }
        });
        let (input, output) = (input.clone(), output.clone());
        Arc::new(Recipe { table: table.clone(), inner, expressions, as_of, codec, input, output, found })
    }
}

impl Recipe {
    /// One for a shard.
    pub fn build(self: &Arc<Self>) -> Lookup {
        Lookup {
            recipe: self.clone(),
            reader: Reader::new(&self.table),
            empty: RecordBatch::new_empty(self.output.arrow().clone()),
            bytes: Vec::new(),
            ends: Vec::new(),
            ready: None,
        }
    }
}

impl Operator for Lookup {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        if batch.is_empty() {
            self.ready = Some(batch.with_rows(self.empty.clone()));
            return;
        }
        let recipe = self.recipe.clone();
        let expressions: Vec<&Expr> = recipe.expressions.iter().collect();
        let (batch, mut values) = evaluate_all(&expressions, "lookup", &recipe.input, batch, context);
        let times = match &recipe.as_of {
            None => None,
            Some(AsOf::EventTime) => {
                Some(batch.times.as_ref().expect("the step was resolved with event time").at_ms.clone())
            }
            Some(AsOf::Expression(_)) => {
                Some(EventTimes::milliseconds(&values.pop().expect("the time stands behind the key")))
            }
        };
        self.bytes.clear();
        self.ends.clear();
        recipe.codec.encode(&values, batch.len(), &mut self.bytes, &mut self.ends);
        let index = self.reader.present();
        let found = find(index, &values, times.as_ref(), &self.bytes, &self.ends);
        let missing = found.null_count() > 0;
        let (batch, found) = if recipe.inner && missing {
            let keep = BooleanArray::new(found.nulls().expect("some are NULL").inner().clone(), None);
            (batch.filter(&keep), UInt32Array::from_iter_values(found.iter().flatten()))
        } else {
            (batch, found)
        };
        let mut columns = batch.rows.columns().to_vec();
        columns.extend(recipe.found.as_ref().map(|column| column.rows(index, &found)));
        let rows = recipe.output.rows(columns, batch.len());
        self.ready = Some(batch.with_rows(rows));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

impl Found {
    /// These rows of the table, NULL where there is none.
    fn rows(&self, index: &Index, found: &UInt32Array) -> ArrayRef {
        let column = |column: &usize| {
            take(index.rows().column(*column), found, None).expect("rows that were found are there")
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        let nulls: Option<NullBuffer> = found.nulls().cloned();
        Arc::new(StructArray::new(self.fields.clone(), columns, nulls))
    }
}

/// The row of the table for each row; NULL where there is none.
fn find(
    index: &Index,
    key: &[ArrayRef],
    times: Option<&Int64Array>,
    bytes: &[u8],
    ends: &[u32],
) -> UInt32Array {
    let nulls = key.iter().filter_map(|column| column.nulls()).chain(times.and_then(Int64Array::nulls));
    let nulls: Vec<&NullBuffer> = nulls.collect();
    let mut start = 0;
    let of_row = |(row, end): (usize, &u32)| {
        let key = &bytes[start..*end as usize];
        start = *end as usize;
        if nulls.iter().any(|nulls| nulls.is_null(row)) {
            return None;
        }
        index.find(key, times.map(|times| times.value(row)))
    };
    ends.iter().enumerate().map(of_row).collect()
}
