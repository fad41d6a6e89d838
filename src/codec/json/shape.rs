//! The columns asked for, and the fields of the ROWs among them, as one list of nodes.

use super::fields::{Fields, Previous};
use crate::record::{Column, SqlType};

/// The node of the record itself.
pub(super) const ROOT: usize = 0;

/// A ROW of more fields looks its keys up in a table.
const FEW: usize = 16;

/// The nodes of a schema.
pub(super) struct Shape {
    pub(super) nodes: Vec<Node>,
}

/// The record, a ROW, or a value.
pub(super) struct Node {
    /// What it is; of the record itself a ROW of the columns.
    pub(super) data_type: SqlType,
    pub(super) nullable: bool,
    /// Of a ROW: its fields by key, and their nodes in order.
    fields: Option<Fields>,
    /// The fields' keys, if they are few, and which sketches of keys occur among them.
    keys: Vec<Box<[u8]>>,
    sketches: u64,
    pub(super) children: Vec<usize>,
    /// The children that must be there and must not be NULL.
    pub(super) required: Vec<usize>,
}

impl Shape {
    pub(super) fn new(columns: &[Column]) -> Self {
        let mut shape = Self { nodes: Vec::new() };
        shape.add(&SqlType::Row(columns.to_vec()), false);
        shape
    }

    fn add(&mut self, data_type: &SqlType, nullable: bool) -> usize {
        let node = self.nodes.len();
        let (data_type, no_children) = (data_type.clone(), Vec::new);
        self.nodes.push(Node {
            data_type,
            nullable,
            fields: None,
            keys: Vec::new(),
            sketches: 0,
            children: no_children(),
            required: no_children(),
        });
        if let SqlType::Row(columns) = self.nodes[node].data_type.clone() {
            let children: Vec<usize> =
                columns.iter().map(|column| self.add(&column.data_type, column.nullable)).collect();
            let required = children.iter().zip(&columns).filter(|(_, column)| !column.nullable);
            self.nodes[node].required = required.map(|(child, _)| *child).collect();
            self.nodes[node].fields = Some(Fields::new(columns.iter().map(|column| column.name.as_str())));
            self.nodes[node].children = children;
            if columns.len() <= FEW {
                let keys = || columns.iter().map(|column| column.name.as_bytes());
                self.nodes[node].keys = keys().map(Box::from).collect();
                self.nodes[node].sketches = keys().fold(0, |sketches, key| sketches | 1 << sketch(key));
            }
        }
        node
    }
}

/// A place between the fields of an object.
pub(super) struct Between {
    previous: Previous,
    /// The field that is expected next.
    next: usize,
}

impl Node {
    /// Whether it is a ROW.
    pub(super) fn is_row(&self) -> bool {
        self.fields.is_some()
    }

    /// The node of a key, if somebody asked for it, given where the key before it was.
    #[inline]
    pub(super) fn field(&mut self, between: &mut Between, key: &[u8]) -> Option<usize> {
        if self.children.len() > FEW {
            let field = self.fields.as_mut()?.column(&mut between.previous, key)?;
            return Some(self.children[field]);
        }
        // Mostly nobody asked for it, and it looks like none that somebody asked for.
        if self.sketches >> sketch(key) & 1 == 0 {
            return None;
        }
        let (before, from) = self.keys.split_at(between.next);
        let place_in = |keys: &[Box<[u8]>]| keys.iter().position(|known| **known == *key);
        let field = match place_in(from) {
            Some(field) => between.next + field,
            None => place_in(before)?,
        };
        between.next = field + 1;
        Some(self.children[field])
    }
}

impl Between {
    /// The place before the first key of an object.
    pub(super) fn start() -> Self {
        Self { previous: Fields::start(), next: 0 }
    }
}

/// Something about a key, below 64, in which others mostly differ.
#[inline]
fn sketch(key: &[u8]) -> u32 {
    let [first, .., last] = key else { return u32::from(key.first().copied().unwrap_or(0)) % 64 };
    let length = u32::try_from(key.len() % 64).expect("below 64");
    (u32::from(*first) + u32::from(*last) * 5 + length * 11) % 64
}
