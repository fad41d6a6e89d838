//! The positioned tree of a YAML document: every scalar keeps its source text and its place.
//!
//! Literals are taken from the source text, so that `0.10` stays a decimal and `on` stays a word. A component reads
//! its options through [`Fields`], which reports what is missing, unknown or of the wrong shape, all at once.

mod fields;
mod units;

pub use fields::Fields;
pub use units::{Rate, duration_ms, rate, size_bytes};

use crate::error::Place;

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

/// A value of the tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A scalar: its text after unquoting, and how it was written.
    Scalar(String, Style),
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

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it stands. For a plain scalar on one line, offsets into the place are offsets into the text.
    pub at: Place,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// The scalar's text, unless this is a list, a map, or nothing (`null`, `~`, empty).
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// Whether nothing is written here: an empty plain scalar, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, Style::Plain) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
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
            Value::Scalar(..) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}
