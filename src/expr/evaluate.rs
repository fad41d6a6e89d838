//! Evaluation: a batch at a time, and where a batch fails, its halves again, down to the rows that are to blame.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray, new_empty_array, new_null_array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use datafusion_common::{DataFusionError, Result as DataFusionResult};
use datafusion_physical_expr::PhysicalExpr;

use super::CLOCK;

/// What an expression came to, row by row.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// One value per row; NULL where the row failed.
    pub values: ArrayRef,
    /// The rows that could not be evaluated, in order, each with the reason.
    pub failed: Vec<(u32, String)>,
}

/// Evaluates over a batch; a failing batch is cut in halves until only the failing rows are left.
pub(super) fn evaluate(physical: &dyn PhysicalExpr, data_type: &DataType, rows: &RecordBatch) -> Evaluated {
    match whole(physical, data_type, rows) {
        Ok(values) => Evaluated { values, failed: Vec::new() },
        Err(error) => halves(physical, data_type, rows, &error),
    }
}

fn whole(
    physical: &dyn PhysicalExpr,
    data_type: &DataType,
    rows: &RecordBatch,
) -> DataFusionResult<ArrayRef> {
    if rows.num_rows() == 0 {
        return Ok(new_empty_array(data_type));
    }
    let values = physical.evaluate(rows)?.into_array(rows.num_rows())?;
    debug_assert_eq!(values.data_type(), data_type, "{physical}");
    Ok(values)
}

fn halves(
    physical: &dyn PhysicalExpr,
    data_type: &DataType,
    rows: &RecordBatch,
    error: &DataFusionError,
) -> Evaluated {
    let mut parts = Vec::new();
    let mut failed = Vec::new();
    // Stretches still to do, the first one last, each with the error it is known to fail with.
    let mut stretches = vec![(0, rows.num_rows(), Some(reason_of(error)))];
    while let Some((from, count, known)) = stretches.pop() {
        let reason = match known {
            Some(reason) => reason,
            None => match whole(physical, data_type, &rows.slice(from, count)) {
                Ok(values) => {
                    parts.push(values);
                    continue;
                }
                Err(error) => reason_of(&error),
            },
        };
        if count == 1 {
            parts.push(new_null_array(data_type, 1));
            failed.push((u32::try_from(from).expect("a batch is far below 4 G rows"), reason));
        } else {
            let first = count / 2;
            stretches.push((from + first, count - first, None));
            stretches.push((from, first, None));
        }
    }
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    let values = arrow::compute::concat(&parts).unwrap_or_else(|error| {
        // Only a column too large for its offsets ends here: no row of the batch can be kept then.
        failed = (0..rows.num_rows())
            .map(|row| (u32::try_from(row).expect("a batch is far below 4 G rows"), error.to_string()))
            .collect();
        new_null_array(data_type, rows.num_rows())
    });
    Evaluated { values, failed }
}

/// The batch with a last column of the present time, where [`super::Expr::uses_clock`] expressions find it.
pub(super) fn with_clock(rows: &RecordBatch, wall_ms: i64) -> RecordBatch {
    let values = TimestampMillisecondArray::from(vec![wall_ms; rows.num_rows()]).with_timezone("+00:00");
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(
        CLOCK,
        DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("+00:00".into())),
        true,
    )));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(values));
    RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)
        .expect("one more column as long as the rest")
}

/// The reason of a failure in a user's words.
pub(super) fn reason_of(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Execution(reason) => reason.clone(),
        DataFusionError::ArrowError(error, _) => error.to_string(),
        other => other.strip_backtrace(),
    }
}
