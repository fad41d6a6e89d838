//! `tables`: what rows are looked up in.

use super::Component;
use super::source::{self, DeclaredSchema};
use crate::error::{Problem, Problems};
use crate::yaml::{Fields, Key, Node, Spanned};

/// A table that rows are looked up in.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: Key,
    /// All that is written under it.
    pub written: Node,
    /// Where its rows come from; none where that could not be read.
    pub component: Option<Component>,
    /// How bytes become rows, where the file says it.
    pub format: Option<Component>,
    /// The columns, where the file declares them.
    pub schema: Option<DeclaredSchema>,
    /// The columns that tell rows apart; none where that could not be read.
    pub key: Option<Vec<Spanned<String>>>,
    /// The column that says from when on a row holds; none where a key has one row.
    pub versions: Option<Spanned<String>>,
    /// Whether an option is written wrongly, which has been reported: what seems to be missing may be meant by it.
    pub misread: bool,
}

/// An example of a table.
const EXAMPLE: &str =
    "write for instance customers: { file: { path: customers.csv }, format: csv, schema: { … }, key: id }";

/// Reads `tables`.
pub(super) fn read(node: &Node, problems: &mut Problems) -> Vec<Table> {
    let Some(entries) = node.map() else {
        if !node.is_null() {
            let what = format!("`tables` takes a map of names to tables, not {}", node.kind());
            problems.push(Problem::error(node.at, what).help(EXAMPLE));
        }
        return Vec::new();
    };
    entries.iter().map(|(name, node)| read_table(name, node, problems)).collect()
}

fn read_table(name: &Key, node: &Node, problems: &mut Problems) -> Table {
    let what = format!("tables.{}", name.text);
    let mut fields = Fields::under(name, node, &what, problems);
    let format = fields.take("format").and_then(|node| Component::of_value(node, "format", problems));
    let schema = fields.entry("schema").and_then(|(key, node)| source::schema(key, node, problems));
    fields.required("key", problems);
    let key = fields.text_or_list("key", problems).map(|key| key.into_iter().map(owned).collect());
    let versions = fields.entry("versions");
    let from = versions.and_then(|(key, node)| {
        let mut fields = Fields::under(key, node, "versions", problems);
        fields.required("from", problems);
        let from = fields.text("from", problems).map(str::to_owned);
        let at = fields.take("from").map_or(key.at, |node| node.at);
        fields.finish(problems);
        from.map(|value| Spanned { value, at })
    });
    let examples = "`file: { path: … }`";
    let component = Component::of_rest(&mut fields, &what, examples, problems);
    let misread = format.is_none() && fields.entry("format").is_some()
        || schema.is_none() && fields.entry("schema").is_some()
        || from.is_none() && versions.is_some()
        || fields.rest().next().is_some();
    fields.finish(problems);
    let (name, written) = (name.clone(), node.clone());
    Table { name, written, component, format, schema, key, versions: from, misread }
}

fn owned(text: Spanned<&str>) -> Spanned<String> {
    Spanned { value: text.value.to_owned(), at: text.at }
}
