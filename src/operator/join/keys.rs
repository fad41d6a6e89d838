//! The operator before the exchange of an input: it computes what of the key is no column, behind the input's columns.
//!
//! The expressions of a key are over a ROW of the input under the name it has in the join, so the columns are made one.

use std::sync::Arc;

use arrow::array::{RecordBatch, StructArray};

use crate::expr::Expr;
use crate::operator::expression::evaluate_all;
use crate::operator::{Build, Context, Operator, Part, column_expression};
use crate::record::{Batch, Column, Schema, SqlType};

/// The columns of an input with its key, and how they are made.
pub(super) struct KeyColumns {
    /// Positions of the columns of the key.
    pub positions: Vec<usize>,
    /// What computes those that are no columns of the input; none where all are.
    pub part: Option<Part>,
}

/// The ROW of an input's rows.
pub(super) fn row_column(name: &str, input: &Schema, nullable: bool) -> Column {
    Column::new(name, SqlType::Row(input.columns().to_vec()), nullable)
}

/// The key of an input of this name: for each part its expression, and the column that it is, if it is one.
pub(super) fn key_columns(name: &str, input: &Schema, key: &[(Expr, Option<String>)]) -> KeyColumns {
    let mut columns = input.columns().to_vec();
    let (mut positions, mut expressions) = (Vec::new(), Vec::new());
    for (expression, column) in key {
        if let Some(index) = column.as_ref().and_then(|column| input.index_of(column)) {
            positions.push(index);
            continue;
        }
        positions.push(columns.len());
        columns.push(column_expression(&format!("${}", columns.len()), expression));
        expressions.push(expression.clone());
    }
    let part = (!expressions.is_empty()).then(|| {
        let row = Schema::new(vec![row_column(name, input, false)]);
        let output = Schema::new(columns);
        let build = move || -> Box<dyn Operator> {
            let (row, output, expressions) = (row.clone(), output.clone(), expressions.clone());
            Box::new(Evaluate { row, output, expressions, ready: None })
        };
        Part::Operator(Build::new(format!("join: evaluate the key of {name}"), build))
    });
    KeyColumns { positions, part }
}

struct Evaluate {
    /// One column, the ROW of the input's rows.
    row: Schema,
    output: Schema,
    expressions: Vec<Expr>,
    ready: Option<Batch>,
}

impl Operator for Evaluate {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        let field = &self.row.arrow().fields()[0];
        let arrow::datatypes::DataType::Struct(fields) = field.data_type() else {
            unreachable!("an input is a ROW")
        };
        let columns = batch.rows.columns().to_vec();
        let row = StructArray::try_new_with_length(fields.clone(), columns, None, batch.len())
            .expect("the columns are the input's");
        let rows = self.row.rows(vec![Arc::new(row)], batch.len());
        let expressions: Vec<&Expr> = self.expressions.iter().collect();
        let (kept, values) = evaluate_all(&expressions, "join", &self.row, Batch { rows, ..batch }, context);
        let row = kept.rows.column(0).as_any().downcast_ref::<StructArray>().expect("made above");
        let columns = row.columns().iter().cloned().chain(values).collect();
        let rows: RecordBatch = self.output.rows(columns, kept.len());
        self.ready = Some(Batch { rows, ..kept });
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}
