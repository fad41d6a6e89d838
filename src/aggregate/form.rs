//! The form in which single values are read, compared and kept, whatever their type: numbers and times as they are,
//! all else as bytes.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeTypeOp, DataType};
use arrow::row::{RowConverter, SortField};

/// How values of a type are read, compared and kept.
pub(super) trait Form: 'static {
    /// A column of values.
    type Column: Array;
    /// A value as it is kept.
    type Value: Clone + Default + 'static;
    /// A value as it lies in a column.
    type Seen<'a>: Copy;

    /// The argument's values.
    fn column(&self, argument: &ArrayRef) -> Self::Column;

    /// The value of a row that is not NULL.
    fn value(column: &Self::Column, row: usize) -> Self::Seen<'_>;

    /// A kept value as it would lie in a column.
    fn seen(value: &Self::Value) -> Self::Seen<'_>;

    /// The order of two values; for nested ones some total order.
    fn compare(one: Self::Seen<'_>, other: Self::Seen<'_>) -> Ordering;

    /// Puts a value that was seen into the place of a kept one.
    fn replace(value: &mut Self::Value, seen: Self::Seen<'_>);

    /// The array of kept values.
    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Self::Value>>) -> ArrayRef;

    /// The Arrow type of [`Self::array`].
    fn data_type(&self) -> &DataType;

    /// The heap bytes of a kept value.
    fn heap(value: &Self::Value) -> usize;

    /// The values to keep of a column that [`Self::array`] has made; what stands for NULL does not matter.
    fn keep_all(&self, column: &ArrayRef) -> Vec<Self::Value> {
        let column = self.column(column);
        (0..column.len()).map(|row| Self::keep(Self::value(&column, row))).collect()
    }

    /// A value to keep.
    fn keep(seen: Self::Seen<'_>) -> Self::Value {
        let mut value = Self::Value::default();
        Self::replace(&mut value, seen);
        value
    }
}

/// Numbers and times.
pub(super) struct Numbers<T> {
    data_type: DataType,
    number: PhantomData<T>,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    /// The form of an Arrow type that `T` carries.
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, number: PhantomData }
    }
}

impl<T: ArrowPrimitiveType> Form for Numbers<T> {
    type Column = PrimitiveArray<T>;
    type Value = T::Native;
    type Seen<'a> = T::Native;

    fn column(&self, argument: &ArrayRef) -> PrimitiveArray<T> {
        argument.as_primitive::<T>().clone()
    }

    fn value(column: &PrimitiveArray<T>, row: usize) -> T::Native {
        column.value(row)
    }

    fn seen(value: &T::Native) -> T::Native {
        *value
    }

    fn compare(one: T::Native, other: T::Native) -> Ordering {
        one.compare(other)
    }

    fn replace(value: &mut T::Native, seen: T::Native) {
        *value = seen;
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a T::Native>>) -> ArrayRef {
        let values = values.map(Option::<&T::Native>::copied).collect::<PrimitiveArray<T>>();
        Arc::new(values.with_data_type(self.data_type.clone()))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn heap(_: &T::Native) -> usize {
        0
    }
}

/// Text, bytes and booleans, which are ordered as their bytes are, and nested values in Arrow's row format.
pub(super) struct Bytes {
    data_type: DataType,
    nested: Option<RowConverter>,
}

impl Bytes {
    /// The form of an Arrow type that [`Numbers`] does not carry.
    pub(super) fn new(data_type: DataType) -> Self {
        let nested = data_type.is_nested().then(|| {
            RowConverter::new(vec![SortField::new(data_type.clone())])
                .expect("lists, maps and structs have a row format")
        });
        Self { data_type, nested }
    }
}

impl Form for Bytes {
    type Column = BinaryArray;
    type Value = Box<[u8]>;
    type Seen<'a> = &'a [u8];

    fn column(&self, argument: &ArrayRef) -> BinaryArray {
        if let Some(nested) = &self.nested {
            let rows = nested.convert_columns(std::slice::from_ref(argument)).expect("a column of this type");
            let bytes = rows.try_into_binary().expect("a batch is below 2 GiB");
            let (offsets, values, _) = bytes.into_parts();
            return BinaryArray::new(offsets, values, argument.nulls().cloned());
        }
        if let Some(booleans) = argument.as_boolean_opt() {
            let bytes = |truth| if truth { &b"1"[..] } else { &b"0"[..] };
            return booleans.iter().map(|truth| truth.map(bytes)).collect();
        }
        let bytes = cast(argument, &DataType::Binary).expect("text is bytes");
        bytes.as_binary::<i32>().clone()
    }

    fn value(column: &BinaryArray, row: usize) -> &[u8] {
        column.value(row)
    }

    fn seen(value: &Box<[u8]>) -> &[u8] {
        value
    }

    fn compare(one: &[u8], other: &[u8]) -> Ordering {
        one.cmp(other)
    }

    fn replace(value: &mut Box<[u8]>, seen: &[u8]) {
        if seen.len() == value.len() {
            value.copy_from_slice(seen);
        } else {
            *value = seen.into();
        }
    }

    fn array<'a>(&self, values: impl Iterator<Item = Option<&'a Box<[u8]>>>) -> ArrayRef {
        let values = values.map(|value| value.map(|bytes| &**bytes));
        match (&self.data_type, &self.nested) {
            (_, Some(nested)) => {
                // The row of NULL stands in where there is no value.
                let null = arrow::array::new_null_array(&self.data_type, 1);
                let null = nested.convert_columns(&[null]).expect("a column of this type");
                let (parser, null) = (nested.parser(), null.row(0).data().to_vec());
                let values: Vec<&[u8]> = values.map(|value| value.unwrap_or(&null)).collect();
                let rows = values.iter().map(|bytes| parser.parse(bytes));
                nested.convert_rows(rows).expect("written by this converter").remove(0)
            }
            (DataType::Boolean, _) => {
                Arc::new(values.map(|value| value.map(|bytes| bytes == b"1")).collect::<BooleanArray>())
            }
            (DataType::Utf8, _) => {
                let text = |bytes| str::from_utf8(bytes).expect("taken from a text column");
                Arc::new(values.map(|value| value.map(text)).collect::<StringArray>())
            }
            _ => Arc::new(values.collect::<BinaryArray>()),
        }
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn heap(value: &Box<[u8]>) -> usize {
        value.len()
    }
}

/// Evaluates an expression with `$form` standing for the form of an Arrow type.
macro_rules! with_form {
    ($data_type:expr, $form:ident => $then:expr) => {{
        use arrow::datatypes as types;
        use arrow::datatypes::{DataType, TimeUnit};
        use $crate::aggregate::form::{Bytes, Numbers};
        let data_type: DataType = $data_type;
        macro_rules! with {
            ($type:ident) => {{
                let $form = Numbers::<types::$type>::new(data_type);
                $then
            }};
        }
        match &data_type {
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
            _ => {
                let $form = Bytes::new(data_type);
                $then
            }
        }
    }};
}

pub(super) use with_form;
