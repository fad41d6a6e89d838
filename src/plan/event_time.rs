//! Where event time comes from: the file's word, or what the source knows of itself.

use super::MAX_FUTURE_MS_DEFAULT;
use crate::config;
use crate::error::{Problem, Problems};
use crate::expr::{compile, compile_at};
use crate::record::{Schema, SqlType};
use crate::source::{Source, TimeOf};

/// The event time over these columns; none where there is none. An error has been reported.
pub(super) fn resolve(
    declared: &config::Source,
    source: Option<&dyn Source>,
    columns: &Schema,
    problems: &mut Problems,
) -> Result<Option<TimeOf>, ()> {
    let Some(event_time) = &declared.event_time else {
        let own = source.and_then(Source::event_time).map(|(text, out_of_order_ms)| TimeOf {
            expression: compile(text, columns).expect("a source's own event time is over its own columns"),
            out_of_order_ms,
            idle_after_ms: config::EventTime::IDLE_AFTER_MS,
            max_future_ms: None,
        });
        return Ok(own);
    };
    let expression = compile_at(&event_time.column, columns, problems).ok_or(())?;
    let problem = match expression.data_type() {
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) if expression.uses_clock() => {
            Problem::error(event_time.column.at, "event time cannot come from the clock")
                .help("take it from a column of the record")
        }
        SqlType::Timestamp(_) | SqlType::TimestampLtz(_) => {
            let is_live = source.is_some_and(Source::is_live);
            return Ok(Some(TimeOf {
                expression,
                out_of_order_ms: event_time.out_of_order_ms,
                idle_after_ms: event_time.idle_after_ms,
                max_future_ms: is_live.then(|| event_time.max_future_ms.unwrap_or(MAX_FUTURE_MS_DEFAULT)),
            }));
        }
        SqlType::String => {
            Problem::error(event_time.column.at, "event time is a timestamp, and this is STRING")
                .help("declare the column as TIMESTAMP(3) (without a zone) or TIMESTAMP_LTZ(3) (with one)")
        }
        other if other.is_integer() => {
            Problem::error(event_time.column.at, format!("event time is a timestamp, and this is {other}"))
                .help("for milliseconds since 1970 write TO_TIMESTAMP_LTZ(column, 3)")
        }
        other => {
            Problem::error(event_time.column.at, format!("event time is a timestamp, and this is {other}"))
        }
    };
    problems.push(problem);
    Err(())
}
