//! The Arrow types whose values are kept as they are, without a heap.

/// Evaluates an expression with `$T` standing for the Arrow primitive type that carries `$data_type`, or the one behind
/// it where that is none.
macro_rules! with_primitive {
    ($data_type:expr, $T:ident => $then:expr, $otherwise:expr) => {{
        use arrow::datatypes as types;
        use arrow::datatypes::{DataType, TimeUnit};
        macro_rules! with {
            ($type:ident) => {{
                type $T = types::$type;
                $then
            }};
        }
        match &$data_type {
            DataType::Int8 => with!(Int8Type),
            DataType::Int16 => with!(Int16Type),
            DataType::Int32 => with!(Int32Type),
            DataType::Int64 => with!(Int64Type),
            DataType::Float32 => with!(Float32Type),
            DataType::Float64 => with!(Float64Type),
            DataType::Decimal128(..) => with!(Decimal128Type),
            DataType::Date32 => with!(Date32Type),
            DataType::Time32(_) => with!(Time32MillisecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => with!(TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => with!(TimestampMicrosecondType),
            DataType::Timestamp(..) => with!(TimestampNanosecondType),
            _ => $otherwise,
        }
    }};
}

pub(super) use with_primitive;
