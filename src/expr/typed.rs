//! A typed expression under construction: a node of the tree with its type and its place in the text.
//!
//! Everything that makes a node goes through here, so a node whose inputs are all constant is folded into a literal at
//! once, and a constant that fails is an error of the text rather than of every row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;
use datafusion_common::ScalarValue;
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Literal;

use super::ExprError;
use super::evaluate::reason_of;
use super::kernel::{Argument, Kernel, KernelExpr, Outcome};
use crate::record::SqlType;

/// A byte range of the text.
pub(super) type Span = (usize, usize);

/// A typed expression.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    /// The node; it yields values of `data_type`'s Arrow type.
    pub(super) physical: Arc<dyn PhysicalExpr>,
    /// Its type.
    pub(super) data_type: SqlType,
    /// Whether it may be NULL.
    pub(super) nullable: bool,
    /// Where it stands.
    pub(super) span: Span,
}

impl Typed {
    /// A constant.
    pub(super) fn literal(value: ScalarValue, data_type: SqlType, span: Span) -> Self {
        let nullable = value.is_null();
        Self { physical: Arc::new(Literal::new(value)), data_type, nullable, span }
    }

    /// A constant text.
    pub(super) fn text(value: &str, span: Span) -> Self {
        Self::literal(ScalarValue::Utf8(Some(value.to_owned())), SqlType::String, span)
    }

    /// The NULL of a type.
    pub(super) fn null(data_type: SqlType, span: Span) -> Self {
        let value = ScalarValue::try_from(&data_type.arrow()).unwrap_or(ScalarValue::Null);
        Self::literal(value, data_type, span)
    }

    /// The value, if it is constant.
    pub(super) fn constant(&self) -> Option<&ScalarValue> {
        self.physical.downcast_ref::<Literal>().map(Literal::value)
    }

    /// The text, if it is a constant text; a constant NULL is `Some(None)`.
    #[expect(clippy::option_option, reason = "no constant and NULL are two things")]
    pub(super) fn constant_text(&self) -> Option<Option<&str>> {
        match self.constant()? {
            ScalarValue::Utf8(text) => Some(text.as_deref()),
            _ => None,
        }
    }

    /// The whole number, if it is a constant integer.
    pub(super) fn constant_integer(&self) -> Option<i64> {
        match *self.constant()? {
            ScalarValue::Int8(value) => value.map(i64::from),
            ScalarValue::Int16(value) => value.map(i64::from),
            ScalarValue::Int32(value) => value.map(i64::from),
            ScalarValue::Int64(value) => value,
            _ => None,
        }
    }

    /// The same at another place.
    pub(super) fn at(self, span: Span) -> Self {
        Self { span, ..self }
    }

    /// A node of DataFusion's over `inputs`; folded if all of them are constant.
    pub(super) fn node(
        physical: Arc<dyn PhysicalExpr>,
        data_type: SqlType,
        nullable: bool,
        span: Span,
        inputs: &[&Typed],
    ) -> Result<Self, ExprError> {
        let made = Self { physical, data_type, nullable, span };
        if inputs.iter().all(|input| input.constant().is_some()) { made.folded() } else { Ok(made) }
    }

    /// A call of a kernel; folded if all its arguments are constant.
    pub(super) fn call(
        name: &str,
        arguments: Vec<Typed>,
        data_type: SqlType,
        nullable: bool,
        span: Span,
        kernel: impl Fn(&[Argument], usize) -> Outcome + Send + Sync + 'static,
    ) -> Result<Self, ExprError> {
        let kernel: Kernel = Arc::new(kernel);
        let constant = arguments.iter().all(|argument| argument.constant().is_some());
        let inputs = arguments.into_iter().map(|argument| argument.physical).collect();
        let physical = Arc::new(KernelExpr::new(name.to_owned(), inputs, data_type.arrow(), kernel));
        let made = Self { physical, data_type, nullable, span };
        if constant { made.folded() } else { Ok(made) }
    }

    /// A call whose result may be NULL exactly where an argument may.
    pub(super) fn strict(
        name: &str,
        arguments: Vec<Typed>,
        data_type: SqlType,
        span: Span,
        kernel: impl Fn(&[Argument], usize) -> Outcome + Send + Sync + 'static,
    ) -> Result<Self, ExprError> {
        let nullable = arguments.iter().any(|argument| argument.nullable);
        Self::call(name, arguments, data_type, nullable, span, kernel)
    }

    /// The literal this constant comes to.
    fn folded(self) -> Result<Self, ExprError> {
        let fail = |reason: String| ExprError {
            span: self.span,
            what: format!("this constant cannot be computed: {reason}"),
            help: None,
        };
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), vec![], &options)
            .expect("one row without columns");
        let value = match self.physical.evaluate(&batch).map_err(|error| fail(reason_of(&error)))? {
            ColumnarValue::Scalar(value) => value,
            ColumnarValue::Array(array) => {
                ScalarValue::try_from_array(&array, 0).map_err(|error| fail(reason_of(&error)))?
            }
        };
        // A branch of a CASE may yield an untyped NULL.
        if value.is_null() {
            return Ok(Self::null(self.data_type, self.span));
        }
        Ok(Self::literal(value, self.data_type, self.span))
    }
}

/// An array as a kernel yields it.
#[expect(clippy::unnecessary_wraps, reason = "kernels end with it")]
pub(super) fn done(array: impl arrow::array::Array + 'static) -> Outcome {
    Ok(Arc::new(array) as ArrayRef)
}
