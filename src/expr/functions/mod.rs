//! The functions of the language: an allow-list under Flink's names, types and meanings.
//!
//! To add one, write its kernel in the file of its group and one [`Function`] into that file's `FUNCTIONS`. Listing,
//! documentation and the test that runs every example come from there.

mod collection;
mod conditional;
mod hash;
mod math;
mod pattern;
mod regex;
mod temporal;
mod text;

use std::sync::LazyLock;

use super::ExprError;
use super::coerce::coerce;
use super::kernel::{Argument, Outcome};
use super::typed::{Span, Typed};
use crate::error::nearest;
use crate::record::SqlType;

/// What a user reads about a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionDoc {
    /// Its name, in upper case.
    pub name: &'static str,
    /// How it is called and what it yields.
    pub signature: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// An expression that calls it.
    pub example: &'static str,
    /// What the example comes to, as text.
    pub result: &'static str,
}

/// All functions, by group.
#[must_use]
pub fn functions() -> &'static [FunctionDoc] {
    static DOCS: LazyLock<Vec<FunctionDoc>> = LazyLock::new(|| all().map(|function| function.doc).collect());
    &DOCS
}

/// One function: what is said about it and how a call of it is built.
struct Function {
    doc: FunctionDoc,
    /// Other names of it.
    aliases: &'static [&'static str],
    build: Build,
}

/// How a call is built.
enum Build {
    /// Parameters of fixed types, the last ones of which may be left out from `required` on; NULL where an argument is,
    /// and where the kernel says so, if it may.
    Plain {
        parameters: &'static [Kind],
        required: usize,
        returns: Kind,
        may_be_null: bool,
        kernel: PlainKernel,
    },
    /// Everything of its own.
    Own(fn(Call) -> Result<Typed, ExprError>),
}

type PlainKernel = fn(&[Argument], usize) -> Outcome;

/// The types that plain functions deal in.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Boolean,
    Int,
    Whole,
    Double,
}

impl Kind {
    fn sql(self) -> SqlType {
        match self {
            Self::Text => SqlType::String,
            Self::Boolean => SqlType::Boolean,
            Self::Int => SqlType::Int,
            Self::Whole => SqlType::BigInt,
            Self::Double => SqlType::Double,
        }
    }
}

/// A function of `required` or more arguments of fixed types that is NULL exactly where an argument is.
const fn strict(parameters: &'static [Kind], required: usize, returns: Kind, kernel: PlainKernel) -> Build {
    Build::Plain { parameters, required, returns, may_be_null: false, kernel }
}

/// The same, where the kernel makes NULLs of its own.
const fn partial(parameters: &'static [Kind], required: usize, returns: Kind, kernel: PlainKernel) -> Build {
    Build::Plain { parameters, required, returns, may_be_null: true, kernel }
}

/// A call to be built.
struct Call {
    function: &'static Function,
    arguments: Vec<Typed>,
    span: Span,
    clock: Typed,
}

impl Call {
    /// The arguments, `least` to `most` of them.
    fn counted(&mut self, least: usize, most: usize) -> Result<Vec<Typed>, ExprError> {
        let arguments = std::mem::take(&mut self.arguments);
        if (least..=most).contains(&arguments.len()) {
            return Ok(arguments);
        }
        let expected = match (least, most) {
            (0, 0) => "no arguments".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            (least, usize::MAX) => format!("{least} or more arguments"),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        Err(self.wrong(self.span, format!("{} takes {expected}, not {}", self.name(), arguments.len())))
    }

    fn name(&self) -> &'static str {
        self.function.doc.name
    }

    /// An error that tells the signature.
    fn wrong(&self, span: Span, what: String) -> ExprError {
        ExprError { span, what, help: Some(format!("it is {}", self.function.doc.signature)) }
    }

    /// An argument as the type of a parameter, if Flink casts so by itself.
    fn fitted(&self, argument: Typed, to: &SqlType) -> Result<Typed, ExprError> {
        let from = &argument.data_type;
        let fits = from == to
            || *from == SqlType::Null
            || *to == SqlType::Double && from.is_numeric()
            || *to == SqlType::BigInt && from.is_integer()
            || matches!((from, to), (SqlType::Timestamp(_), SqlType::Timestamp(_)))
            || matches!((from, to), (SqlType::TimestampLtz(_), SqlType::TimestampLtz(_)));
        if fits {
            return coerce(argument, to);
        }
        let what = format!("{} takes {to} here, this is {from}", self.name());
        let cast = format!("CAST(… AS {to})");
        let mut error = self.wrong(argument.span, what);
        error.help = error.help.map(|help| format!("{help}; {cast} may do"));
        Err(error)
    }

    /// The only argument.
    fn one(&mut self) -> Result<Typed, ExprError> {
        Ok(self.counted(1, 1)?.remove(0))
    }

    /// Both arguments.
    fn two(&mut self) -> Result<(Typed, Typed), ExprError> {
        let mut arguments = self.counted(2, 2)?;
        let second = arguments.remove(1);
        Ok((arguments.remove(0), second))
    }
}

fn all() -> impl Iterator<Item = &'static Function> {
    [
        conditional::FUNCTIONS,
        math::FUNCTIONS,
        text::FUNCTIONS,
        regex::FUNCTIONS,
        hash::FUNCTIONS,
        temporal::FUNCTIONS,
        collection::FUNCTIONS,
    ]
    .into_iter()
    .flatten()
}

fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.doc.name == name || function.aliases.contains(&name))
}

/// Whether there is a function of this name, given in upper case.
pub(super) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// Whether the first argument is a unit of time rather than a value.
pub(super) fn takes_unit(name: &str) -> bool {
    matches!(name, "TIMESTAMPADD" | "TIMESTAMPDIFF")
}

const RANKS: &str =
    "the step `top` with `rank: NAME` numbers the rows of each partition; `dedupe` keeps the first or last";
const LAG: &str = "the value of the row before is IF(COUNT(*) = 2, ARRAY_AGG(value)[1], NULL) in the step `over` with `rows: 2`";
const WINDOW_START: &str = "the `aggregate` step yields the start of its window as the column window_start";
const WINDOW_END: &str = "the `aggregate` step yields the end of its window as the column window_end";

/// Names that people try, which mean something Millstream does not do.
const REFUSED: &[(&str, &str)] = &[
    ("RAND", "results must not change when a record is processed again; take a hash of a column, as MD5(id)"),
    (
        "RANDOM",
        "results must not change when a record is processed again; take a hash of a column, as MD5(id)",
    ),
    (
        "UUID",
        "results must not change when a record is processed again; take a hash of a column, as SHA256(id)",
    ),
    ("ROW_NUMBER", RANKS),
    ("RANK", "the step `top` with `rank: NAME` and `ties: keep` ranks the rows of each partition"),
    (
        "DENSE_RANK",
        "ranks without gaps are not in this version; the step `top` with `rank: NAME` numbers rows",
    ),
    ("PERCENT_RANK", "shares of a partition are not in this version; the step `top` numbers its first rows"),
    ("CUME_DIST", "shares of a partition are not in this version; the step `top` numbers its first rows"),
    ("NTILE", "shares of a partition are not in this version; the step `top` numbers its first rows"),
    ("NTH_VALUE", "ARRAY_AGG(value)[n] in the step `over` or `aggregate` is the n-th value"),
    ("LAG", LAG),
    ("LEAD", "a row is passed on before later ones come; look back from the later row with the step `over`"),
    ("TUMBLE", "windows belong to the `aggregate` step: window: { tumbling: 1m }"),
    ("HOP", "windows belong to the `aggregate` step: window: { sliding: 10m, every: 1m }"),
    ("CUMULATE", "windows belong to the `aggregate` step: window: { cumulative: 1d, every: 1h }"),
    ("SESSION", "windows belong to the `aggregate` step: window: { session: 30s }"),
    ("TUMBLE_START", WINDOW_START),
    ("TUMBLE_END", WINDOW_END),
    ("HOP_START", WINDOW_START),
    ("HOP_END", WINDOW_END),
    ("SESSION_START", WINDOW_START),
    ("SESSION_END", WINDOW_END),
    ("PROCTIME", "use NOW(); in a window, time: processing"),
    ("NVL", "use COALESCE"),
    ("ISNULL", "write `value IS NULL`"),
    ("LENGTH", "use CHAR_LENGTH"),
    ("LEN", "use CHAR_LENGTH"),
    ("STRPOS", "use INSTR(text, part)"),
    ("SPLIT", "use SPLIT_INDEX(text, separator, index)"),
    ("SPLIT_PART", "use SPLIT_INDEX(text, separator, index), counted from 0"),
    ("DATE_TRUNC", "use FLOOR(time TO unit)"),
    ("DATEDIFF", "use TIMESTAMPDIFF(DAY, earlier, later)"),
    ("DATE_ADD", "use TIMESTAMPADD(DAY, count, time) or `time + INTERVAL '1' DAY`"),
    ("TO_CHAR", "use DATE_FORMAT for times, CAST for numbers"),
    ("DATE_PART", "use EXTRACT(unit FROM time)"),
];

/// What to do instead of `name(…) OVER (…)`; the name is in upper case.
pub(super) fn instead_of_over(name: &str) -> &'static str {
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, help)) => help,
        None => {
            "the step `over` adds aggregates of the rows before to every row: over: { by: …, range: 1h, select: … }"
        }
    }
}

/// The error of a name that is no function.
pub(super) fn unknown(name: &str, span: Span) -> ExprError {
    if let Some((_, help)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return ExprError {
            span,
            what: format!("there is no function {name}"),
            help: Some((*help).to_owned()),
        };
    }
    let names =
        all().flat_map(|function| std::iter::once(function.doc.name).chain(function.aliases.iter().copied()));
    let help = match nearest(name, names) {
        Some(near) => format!("did you mean {near}?"),
        None => "`millstream list functions` shows them all".to_owned(),
    };
    ExprError { span, what: format!("there is no function {name}"), help: Some(help) }
}

/// A call of a function by its name in upper case, and whether it reads `clock`, the present time.
pub(super) fn call(
    name: &str,
    arguments: Vec<Typed>,
    span: Span,
    clock: Typed,
) -> Result<(Typed, bool), ExprError> {
    let function = find(name).ok_or_else(|| unknown(name, span))?;
    let uses_clock = temporal::reads_clock(function.doc.name, arguments.len());
    let mut call = Call { function, arguments, span, clock };
    let typed = match function.build {
        Build::Own(build) => build(call)?,
        Build::Plain { parameters, required, returns, may_be_null, kernel } => {
            let arguments = call.counted(required, parameters.len())?;
            let arguments = arguments
                .into_iter()
                .zip(parameters)
                .map(|(argument, kind)| call.fitted(argument, &kind.sql()))
                .collect::<Result<Vec<_>, _>>()?;
            let nullable = may_be_null || arguments.iter().any(|argument| argument.nullable);
            Typed::call(function.doc.name, arguments, returns.sql(), nullable, span, kernel)?
        }
    };
    Ok((typed, uses_clock))
}
