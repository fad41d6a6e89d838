//! The positioned tree of a YAML document: every scalar keeps its source text and its place.
//!
//! Literals are taken from the source text, so that `0.10` stays a decimal and `on` stays a word. [`parse()`] reads a
//! text, [`set`] overrides single values from the command line, [`interpolate()`] replaces `${NAME}` in scalars, and a
//! component reads its options through [`Fields`], which reports what is missing, unknown or of the wrong shape, all
//! at once. [`render()`] shows the problems with their lines.

mod bind;
mod comma;
mod documents;
mod fields;
mod interpolate;
mod offsets;
mod overrides;
mod parse;
mod render;
mod syntax;
mod units;

pub use bind::bind;
pub use documents::Documents;
pub use fields::Fields;
pub use interpolate::{Environment, NoEnvironment, ProcessEnvironment, Variable, interpolate};
pub use overrides::set;
pub use parse::parse;
pub use render::{render, render_github, render_json};
pub use units::{Rate, duration_ms, offset_ms, parse_duration_ms, rate, size_bytes};

use crate::error::{Place, Problem, Problems};
use offsets::Offsets;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a `|` or `>` block.
    Block,
}

/// What a scalar says once its variables are replaced.
#[derive(Clone, Debug, PartialEq)]
pub enum Text {
    /// The raw text, which names no variable.
    Raw,
    /// The raw text with its variables replaced.
    Replaced(String),
    /// It depends on a variable that is not known here: a check without an environment.
    Unknown,
    /// It cannot be told, and this is why. Reported when somebody reads the value, because an expression may hold
    /// `${` for its own reasons.
    Wrong(Box<Problem>),
}

/// A value that is neither a list nor a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The text after unquoting, variables not replaced. Empty where nothing is written.
    pub raw: String,
    /// The text with variables replaced.
    pub text: Text,
    /// How it was written.
    pub style: Style,
    offsets: Offsets,
}

impl Scalar {
    /// A scalar without variables whose place holds its text as it is.
    #[must_use]
    pub fn new(raw: impl Into<String>, style: Style) -> Self {
        Self { raw: raw.into(), text: Text::Raw, style, offsets: Offsets::default() }
    }

    /// Whether nothing is written: an empty plain scalar, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.style == Style::Plain && matches!(self.raw.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, a number, a boolean or nothing: which of these is for its reader to say.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the page, without duplicate keys.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key's text.
    pub text: String,
    /// Where it stands.
    pub at: Place,
}

/// A value read from the file and the place it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Place,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands; the place of its key where nothing is written.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

/// What [`Node::read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading<'a> {
    /// The text.
    Text(&'a str),
    /// The text cannot be known; what there was to say about that has been said. Nothing may be concluded.
    Withheld,
    /// A list, a map or nothing.
    NotText,
}

impl Node {
    /// A value that is not written, at the place where it would stand.
    #[must_use]
    pub fn nothing(at: Place) -> Self {
        Self { at, value: Value::Scalar(Scalar::new("", Style::Plain)) }
    }

    /// Stands for options of which some are not known, which has been reported: nobody misses anything in it.
    #[must_use]
    pub fn withheld(at: Place) -> Self {
        let scalar = Scalar { text: Text::Unknown, ..Scalar::new("", Style::Quoted) };
        Self { at, value: Value::Scalar(scalar) }
    }

    /// Whether it is [`Node::withheld`]: a text that depends on a variable is not empty as it is written.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.text == Text::Unknown && scalar.raw.is_empty())
    }

    /// The scalar's text with variables replaced, unless this is a list, a map, or nothing (`null`, `~`, empty), or a
    /// variable in it has no value. A reader that reports what it cannot use calls [`Node::read`] instead.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self.scalar().filter(|scalar| !scalar.is_null())? {
            Scalar { text: Text::Raw, raw, .. } => Some(raw),
            Scalar { text: Text::Replaced(text), .. } => Some(text),
            _ => None,
        }
    }

    /// The scalar's text as an expression reads it: numbers and booleans as they are written, NULL for `~` and `null`,
    /// variables not replaced. Nothing for a list, a map, or where nothing at all is written.
    #[must_use]
    pub fn expression(&self) -> Option<&str> {
        let scalar = self.scalar()?;
        match scalar.raw.as_str() {
            "" => None,
            _ if scalar.is_null() => Some("NULL"),
            raw => Some(raw),
        }
    }

    /// The scalar's text with variables replaced. A variable without a value is reported here.
    pub fn read(&self, problems: &mut Problems) -> Reading<'_> {
        match self.scalar() {
            Some(Scalar { text: Text::Wrong(problem), .. }) => {
                problems.push((**problem).clone());
                Reading::Withheld
            }
            Some(Scalar { text: Text::Unknown, .. }) => Reading::Withheld,
            _ => self.text().map_or(Reading::NotText, Reading::Text),
        }
    }

    /// What `parse` makes of the text. Where it makes nothing of it, or this is no text, the problem is `wrong`.
    pub fn read_as<'a, T>(
        &'a self,
        problems: &mut Problems,
        parse: impl FnOnce(&'a str) -> Option<T>,
        wrong: impl FnOnce() -> Problem,
    ) -> Option<T> {
        let parsed = match self.read(problems) {
            Reading::Text(text) => parse(text),
            Reading::Withheld => return None,
            Reading::NotText => None,
        };
        if parsed.is_none() {
            problems.push(wrong());
        }
        parsed
    }

    /// The place of the bytes `from..to` of the raw text, through quotes, escapes and folded lines. Offsets inside a
    /// character count for the whole of it.
    #[must_use]
    pub fn within(&self, from: usize, to: usize) -> Place {
        match &self.value {
            Value::Scalar(scalar) => {
                let (from, to) = (scalar.raw.floor_char_boundary(from), scalar.raw.ceil_char_boundary(to));
                scalar.offsets.within(self.at, from, to)
            }
            _ => self.at,
        }
    }

    /// The scalar, if this is one.
    #[must_use]
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether nothing is written here: an empty plain scalar, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(Scalar::is_null)
    }

    /// The list's items.
    #[must_use]
    pub fn list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The map's entries.
    #[must_use]
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// What this is, for an error: "a list", "a map", "text", "nothing".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}
