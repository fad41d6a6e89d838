//! The columns asked for, and the fields of the ROWs among them, as one list of nodes.

use super::fields::Fields;
use crate::record::{Column, SqlType};

/// The node of the record itself.
pub(super) const ROOT: usize = 0;

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
    pub(super) fields: Option<Fields>,
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
        }
        node
    }
}
