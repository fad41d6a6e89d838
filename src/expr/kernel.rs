//! The seam between our functions and DataFusion's expression tree: a kernel gets arguments, a batch at a time, and
//! yields one value per row; a [`Kernel`] in the tree is a [`KernelExpr`].
//!
//! A kernel fails as a whole. Which of its rows was to blame is found by [`super::evaluate`], which evaluates the halves
//! of a failing batch again, so a kernel needs no bookkeeping and a batch without errors costs nothing.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayAccessor, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, Datum,
    Int64Array, PrimitiveArray, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Schema as ArrowSchema,
    Time32MillisecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType,
};
use datafusion_common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;

/// What a kernel yields: one value per row, or why a row has none.
pub(super) type Outcome = Result<ArrayRef, String>;

/// A function over a batch: its arguments and the number of rows.
pub(super) type Kernel = Arc<dyn Fn(&[Argument], usize) -> Outcome + Send + Sync>;

/// A column of arguments, or one value that stands for all rows.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    array: ArrayRef,
    scalar: bool,
}

impl Argument {
    /// The values as they are: one per row, or a single one.
    pub(super) fn array(&self) -> &ArrayRef {
        &self.array
    }

    /// One value per row.
    pub(super) fn expanded(&self, rows: usize) -> Outcome {
        if self.scalar { repeated(&self.array, rows) } else { Ok(self.array.clone()) }
    }

    /// Other values of the same form: one per row, or a single one.
    pub(super) fn with_array(&self, array: ArrayRef) -> Self {
        Self { array, scalar: self.scalar }
    }

    /// Whether a row's value is NULL.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(self.index(row))
    }

    /// The position of a row's value in [`Argument::array`].
    pub(super) fn index(&self, row: usize) -> usize {
        if self.scalar { 0 } else { row }
    }

    /// STRING values.
    pub(super) fn text(&self) -> Values<&StringArray> {
        Values { array: self.array.as_string(), scalar: self.scalar }
    }

    /// BYTES values.
    pub(super) fn bytes(&self) -> Values<&BinaryArray> {
        Values { array: self.array.as_binary(), scalar: self.scalar }
    }

    /// BOOLEAN values.
    pub(super) fn boolean(&self) -> Values<&BooleanArray> {
        Values { array: self.array.as_boolean(), scalar: self.scalar }
    }

    /// Values of one Arrow type.
    pub(super) fn primitive<T: ArrowPrimitiveType>(&self) -> Values<&PrimitiveArray<T>> {
        Values { array: self.array.as_primitive::<T>(), scalar: self.scalar }
    }

    /// BIGINT values.
    pub(super) fn bigint(&self) -> Values<&PrimitiveArray<Int64Type>> {
        self.primitive()
    }

    /// DOUBLE values.
    pub(super) fn double(&self) -> Values<&PrimitiveArray<Float64Type>> {
        self.primitive()
    }

    /// DECIMAL values, unscaled.
    pub(super) fn decimal(&self) -> Values<&PrimitiveArray<Decimal128Type>> {
        self.primitive()
    }

    /// Days, times and timestamps as they are counted.
    pub(super) fn ticks(&self) -> Ticks {
        Ticks { array: ticks_of(&self.array), scalar: self.scalar }
    }
}

impl Datum for Argument {
    fn get(&self) -> (&dyn Array, bool) {
        (self.array.as_ref(), self.scalar)
    }
}

/// Typed access to the values of an [`Argument`].
#[derive(Clone, Copy)]
pub(super) struct Values<A> {
    array: A,
    scalar: bool,
}

impl<A: ArrayAccessor> Values<A> {
    /// The value of a row; none where it is NULL.
    pub(super) fn get(&self, row: usize) -> Option<A::Item> {
        let index = if self.scalar { 0 } else { row };
        (!self.array.is_null(index)).then(|| self.array.value(index))
    }

    /// The value of all rows, where it is one and not NULL.
    pub(super) fn constant(&self) -> Option<A::Item> {
        self.scalar.then(|| self.get(0)).flatten()
    }
}

/// Counted values of an [`Argument`], whatever their unit.
pub(super) struct Ticks {
    array: Int64Array,
    scalar: bool,
}

impl Ticks {
    /// The count of a row; none where it is NULL.
    pub(super) fn get(&self, row: usize) -> Option<i64> {
        let index = if self.scalar { 0 } else { row };
        (!self.array.is_null(index)).then(|| self.array.value(index))
    }
}

fn ticks_of(array: &ArrayRef) -> Int64Array {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().reinterpret_cast()
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            array.as_primitive::<TimestampNanosecondType>().reinterpret_cast()
        }
        DataType::Date32 => array.as_primitive::<Date32Type>().unary(i64::from),
        DataType::Time32(TimeUnit::Millisecond) => {
            array.as_primitive::<Time32MillisecondType>().unary(i64::from)
        }
        other => unreachable!("{other} is not counted time"),
    }
}

/// Counts as values of a day, time or timestamp type.
///
/// # Errors
///
/// A day that 32 bits do not hold.
pub(super) fn from_ticks(ticks: Int64Array, data_type: &DataType) -> Outcome {
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Arc::new(ticks.reinterpret_cast::<TimestampMillisecondType>().with_data_type(data_type.clone()))
                as ArrayRef
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Arc::new(ticks.reinterpret_cast::<TimestampMicrosecondType>().with_data_type(data_type.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Arc::new(ticks.reinterpret_cast::<TimestampNanosecondType>().with_data_type(data_type.clone()))
        }
        DataType::Date32 => {
            let days: PrimitiveArray<Int32Type> = narrowed(&ticks, "the date is out of range")?;
            Arc::new(days.reinterpret_cast::<Date32Type>())
        }
        DataType::Time32(TimeUnit::Millisecond) => {
            let ms: PrimitiveArray<Int32Type> = narrowed(&ticks, "the time is out of range")?;
            Arc::new(ms.reinterpret_cast::<Time32MillisecondType>())
        }
        other => unreachable!("{other} is not counted time"),
    })
}

fn narrowed(ticks: &Int64Array, reason: &str) -> Result<PrimitiveArray<Int32Type>, String> {
    ticks.try_unary(|value| i32::try_from(value).map_err(|_| reason.to_owned()))
}

fn repeated(one: &ArrayRef, rows: usize) -> Outcome {
    let zeros = UInt32Array::from(vec![0_u32; rows]);
    arrow::compute::take(one, &zeros, None).map_err(|error| error.to_string())
}

/// Applies `f` to every row where the argument is not NULL.
pub(super) fn map<A: ArrayAccessor, R, C: FromIterator<Option<R>>>(
    rows: usize,
    a: Values<A>,
    mut f: impl FnMut(A::Item) -> Result<Option<R>, String>,
) -> Result<C, String> {
    (0..rows).map(|row| a.get(row).map_or(Ok(None), &mut f)).collect()
}

/// Applies `f` to every row where neither argument is NULL.
pub(super) fn map2<A: ArrayAccessor, B: ArrayAccessor, R, C: FromIterator<Option<R>>>(
    rows: usize,
    a: Values<A>,
    b: Values<B>,
    mut f: impl FnMut(A::Item, B::Item) -> Result<Option<R>, String>,
) -> Result<C, String> {
    let one = |row| match (a.get(row), b.get(row)) {
        (Some(a), Some(b)) => f(a, b),
        _ => Ok(None),
    };
    (0..rows).map(one).collect()
}

/// Applies `f`, which cannot fail, to all rows at once; the result is NULL where an argument is.
pub(super) fn map2_total<T: ArrowPrimitiveType>(
    rows: usize,
    a: Values<&PrimitiveArray<T>>,
    b: Values<&PrimitiveArray<T>>,
    f: impl Fn(T::Native, T::Native) -> T::Native,
) -> Result<PrimitiveArray<T>, String> {
    let constant = |values: Values<&PrimitiveArray<T>>| values.scalar.then(|| values.get(0));
    match (constant(a), constant(b)) {
        (Some(None), _) | (_, Some(None)) => Ok(PrimitiveArray::new_null(rows)),
        (Some(Some(a)), None) => Ok(b.array.unary(|b| f(a, b))),
        (None, Some(Some(b))) => Ok(a.array.unary(|a| f(a, b))),
        _ => arrow::compute::binary(a.array, b.array, f).map_err(|error| error.to_string()),
    }
}

/// A kernel in the tree, with its arguments.
pub(super) struct KernelExpr {
    name: String,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// The literal arguments, as arrays of one value.
    literals: Vec<Option<ArrayRef>>,
    data_type: DataType,
    kernel: Kernel,
}

impl KernelExpr {
    /// A call of `kernel`, named for error messages; it yields values of `data_type`.
    pub(super) fn new(
        name: String,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        data_type: DataType,
        kernel: Kernel,
    ) -> Self {
        let literal = |argument: &Arc<dyn PhysicalExpr>| {
            argument.downcast_ref::<Literal>().and_then(|literal| literal.value().to_array().ok())
        };
        let literals = arguments.iter().map(literal).collect();
        Self { name, arguments, literals, data_type, kernel }
    }

    /// Whether it takes a field out of a ROW.
    pub(super) fn is_field(&self) -> bool {
        self.name.starts_with('.')
    }
}

impl PhysicalExpr for KernelExpr {
    fn data_type(&self, _: &ArrowSchema) -> DataFusionResult<DataType> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, _: &ArrowSchema) -> DataFusionResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let arguments = self.arguments.iter().zip(&self.literals).map(|(argument, literal)| {
            if let Some(array) = literal {
                return Ok(Argument { array: array.clone(), scalar: true });
            }
            Ok(match argument.evaluate(batch)? {
                ColumnarValue::Array(array) => Argument { array, scalar: false },
                ColumnarValue::Scalar(value) => Argument { array: value.to_array()?, scalar: true },
            })
        });
        let arguments = arguments.collect::<DataFusionResult<Vec<_>>>()?;
        let values = (self.kernel)(&arguments, rows).map_err(DataFusionError::Execution)?;
        debug_assert_eq!(values.data_type(), &self.data_type, "{}", self.name);
        if values.len() == 1 && rows != 1 {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        debug_assert_eq!(values.len(), rows, "{}", self.name);
        Ok(ColumnarValue::Array(values))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.arguments.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self::new(self.name.clone(), children, self.data_type.clone(), self.kernel.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for KernelExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.name)?;
        for (index, argument) in self.arguments.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{argument}")?;
        }
        write!(f, ")")
    }
}

impl fmt::Debug for KernelExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for KernelExpr {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.data_type == other.data_type
            && Arc::ptr_eq(&self.kernel, &other.kernel)
            && self.arguments == other.arguments
    }
}

impl Eq for KernelExpr {}

impl Hash for KernelExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.data_type.hash(state);
        self.arguments.hash(state);
    }
}
