//! Which columns, and which fields inside them, are used.

use std::collections::BTreeSet;

use super::{Column, Schema, SqlType};

/// A set of paths: `["bid", "price"]` is the field `price` of the column `bid`; `["bid"]` is all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths(BTreeSet<Vec<String>>);

impl Paths {
    /// All columns of a schema, whole.
    #[must_use]
    pub fn all(schema: &Schema) -> Self {
        Self(schema.columns().iter().map(|column| vec![column.name.clone()]).collect())
    }

    /// Adds one path.
    pub fn insert(&mut self, path: Vec<String>) {
        self.0.insert(path);
    }

    /// Adds these paths.
    pub fn extend<'a>(&mut self, paths: impl IntoIterator<Item = &'a Vec<String>>) {
        self.0.extend(paths.into_iter().cloned());
    }

    /// The paths in order.
    pub fn iter(&self) -> impl Iterator<Item = &Vec<String>> {
        self.0.iter()
    }

    /// Whether any path begins with this column.
    #[must_use]
    pub fn touches(&self, column: &str) -> bool {
        self.0.iter().any(|path| path[0] == column)
    }

    /// The same with the first name of every path replaced, or the path left out.
    #[must_use]
    pub fn map_columns(&self, rename: impl Fn(&str) -> Option<String>) -> Self {
        let renamed = self.0.iter().filter_map(|path| {
            let mut renamed = path.clone();
            renamed[0] = rename(&path[0])?;
            Some(renamed)
        });
        Self(renamed.collect())
    }

    /// The columns of `schema` that are used, with only the used fields of a ROW, in the schema's order.
    #[must_use]
    pub fn prune(&self, schema: &Schema) -> Schema {
        let paths: Vec<&[String]> = self.0.iter().map(Vec::as_slice).collect();
        Schema::new(prune_columns(schema.columns(), &paths))
    }
}

fn prune_columns(columns: &[Column], paths: &[&[String]]) -> Vec<Column> {
    let kept = columns.iter().filter_map(|column| {
        let below: Vec<&[String]> =
            paths.iter().filter(|path| path.first() == Some(&column.name)).map(|path| &path[1..]).collect();
        if below.is_empty() {
            return None;
        }
        let whole = below.iter().any(|path| path.is_empty());
        let data_type = match &column.data_type {
            SqlType::Row(fields) if !whole => SqlType::Row(prune_columns(fields, &below)),
            other => other.clone(),
        };
        Some(Column { data_type, ..column.clone() })
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse_type;

    #[test]
    fn only_used_fields_stay() {
        let column = |name: &str, text: &str| {
            let (data_type, nullable) = parse_type(text).unwrap();
            Column::new(name, data_type, nullable)
        };
        let schema = Schema::new(vec![
            column("kind", "INT"),
            column("bid", "ROW<price BIGINT, url STRING, who ROW<a INT, b INT>>"),
            column("extra", "STRING"),
        ]);
        let mut paths = Paths::default();
        for path in ["bid.who.b", "bid.price", "kind"] {
            paths.insert(path.split('.').map(str::to_owned).collect());
        }
        let pruned = paths.prune(&schema);
        let text: Vec<String> =
            pruned.columns().iter().map(|c| format!("{} {}", c.name, c.data_type)).collect();
        assert_eq!(text, ["kind INT", "bid ROW<price BIGINT, who ROW<b INT>>"]);
        paths.insert(vec!["bid".to_owned()]);
        assert_eq!(paths.prune(&schema).columns()[1], schema.columns()[1]);
    }
}
