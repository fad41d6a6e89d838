//! Conditions that find rows of a table: an equality for each column of its key, joined by AND.
//!
//! Such a condition is an expression over the columns of a row and one ROW column for the table; it is checked as a whole,
//! term by term, and then taken apart into what a row has to be for each key column.

use sqlparser::ast::{BinaryOperator, Expr as Ast};

use super::coerce::{coerce, common_type};
use super::parse::{self, Source};
use super::translate::Translator;
use super::typed::Typed;
use super::{Expr, ExprError};
use crate::record::{Column, Schema, SqlType};

/// What a row is looked up by: the value that a column of the table's key has to be equal to.
#[derive(Clone, Debug)]
pub struct TableKey {
    /// The column of the key.
    pub column: String,
    /// The value over the columns of the row, in the column's type; integers of every width are as good.
    pub value: Expr,
}

/// Takes a condition apart that says which row of a table belongs to a row of these columns. `table` is a ROW column with
/// the table's name, and `key` names the columns of its key.
///
/// # Errors
///
/// Everything that is wrong with it: it may be nothing but one equality for each key column, with a value of the row.
pub fn table_keys(
    text: &str,
    table: &Column,
    key: &[&str],
    rows: &Schema,
) -> Result<Vec<TableKey>, Vec<ExprError>> {
    let source = Source::new(text);
    let ast = parse::parse(&source).map_err(|error| vec![error])?;
    let mut columns = vec![table.clone()];
    columns.extend(rows.columns().iter().cloned());
    let matching = Matching { source: &source, table, key, rows, scope: Schema::new(columns) };
    let (mut found, mut errors): (Vec<TableKey>, Vec<ExprError>) = (Vec::new(), Vec::new());
    for term in conjuncts(&ast) {
        match matching.term(term) {
            Ok(made) if found.iter().any(|other| other.column == made.column) => {
                let what = format!("`{}.{}` is matched twice", table.name, made.column);
                errors.push(matching.error(term, what, "leave one of the two out".to_owned()));
            }
            Ok(made) => found.push(made),
            Err(wrong) => errors.extend(wrong),
        }
    }
    let missing = key.iter().filter(|name| !found.iter().any(|made| made.column == **name));
    let missing: Vec<String> = missing.map(|name| format!("`{}.{name}`", table.name)).collect();
    if errors.is_empty() && !missing.is_empty() {
        errors.push(ExprError {
            span: (0, text.len()),
            what: format!(
                "a row is found by the whole key of the table, and this lacks {}",
                missing.join(" and ")
            ),
            help: Some(matching.form()),
        });
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

/// The operands of the ANDs at the top, in order.
fn conjuncts(ast: &Ast) -> Vec<&Ast> {
    let (mut found, mut rest) = (Vec::new(), vec![ast]);
    while let Some(next) = rest.pop() {
        match next {
            Ast::Nested(inner) => rest.push(inner),
            Ast::BinaryOp { left, op: BinaryOperator::And, right } => rest.extend([&**right, &**left]),
            _ => found.push(next),
        }
    }
    found
}

struct Matching<'a> {
    source: &'a Source<'a>,
    table: &'a Column,
    key: &'a [&'a str],
    rows: &'a Schema,
    /// The table's column, then those of a row.
    scope: Schema,
}

impl Matching<'_> {
    fn error(&self, ast: &Ast, what: String, help: String) -> ExprError {
        ExprError { span: self.source.span_of(ast), what, help: Some(help) }
    }

    /// What a condition looks like.
    fn form(&self) -> String {
        let terms = self.key.iter().map(|name| format!("{}.{name} = …", self.table.name));
        format!("write `{}`, with a value of the row for each …", terms.collect::<Vec<_>>().join(" AND "))
    }

    /// What a term says of a column of the key.
    fn term(&self, term: &Ast) -> Result<TableKey, Vec<ExprError>> {
        let Some((column, value)) = self.equality(term) else {
            // Unknown names are told as they are anywhere, before what is made of them.
            let mut whole = Translator::new(self.source, &self.scope);
            whole.translate(term);
            if whole.errors.is_empty() {
                let what = "`match` is made of equalities of a key column and a value of the row".to_owned();
                whole.errors.push(self.error(term, what, self.form()));
            }
            return Err(whole.errors);
        };
        if self.reads_table(value) {
            let what =
                format!("a value of the row belongs here, and this reads the table `{}`", self.table.name);
            return Err(vec![self.error(value, what, self.form())]);
        }
        if !self.key.contains(&column.name.as_str()) {
            let keys: Vec<String> = self.key.iter().map(|name| format!("`{name}`")).collect();
            let what = format!("`{}` is no key column of the table `{}`", column.name, self.table.name);
            let keys = keys.join(", ");
            let help = format!("its key is {keys}: compare what was found in a `filter` behind this step");
            return Err(vec![self.error(term, what, help)]);
        }
        let mut translator = Translator::new(self.source, self.rows);
        let Some(typed) = translator.translate(value) else { return Err(translator.errors) };
        let typed = self.in_type_of(column, typed).map_err(|error| vec![error])?;
        let value = Expr::new(typed, translator.paths, translator.uses_clock);
        Ok(TableKey { column: column.name.clone(), value })
    }

    /// A column of the table, and what it is equal to; none where a term is no equality of one and something else.
    fn equality<'a>(&self, term: &'a Ast) -> Option<(&Column, &'a Ast)> {
        let Ast::BinaryOp { left, op: BinaryOperator::Eq, right } = term else { return None };
        match (self.column(left), self.column(right)) {
            (Some(column), None) => Some((column, right)),
            (None, Some(column)) => Some((column, left)),
            _ => None,
        }
    }

    /// The column of the table that this names; none where it is anything else.
    fn column(&self, ast: &Ast) -> Option<&Column> {
        match ast {
            Ast::Nested(inner) => self.column(inner),
            Ast::CompoundIdentifier(names) => {
                let [table, column] = names.as_slice() else { return None };
                let SqlType::Row(fields) = &self.table.data_type else { return None };
                let is_table = table.value == self.table.name;
                fields.iter().find(|field| is_table && field.name == column.value)
            }
            _ => None,
        }
    }

    fn reads_table(&self, ast: &Ast) -> bool {
        let mut translator = Translator::new(self.source, &self.scope);
        translator.translate(ast);
        translator.paths.iter().any(|path| path[0] == self.table.name)
    }

    /// The value in the type of the key column, if every value of its own type has one there.
    fn in_type_of(&self, column: &Column, value: Typed) -> Result<Typed, ExprError> {
        let (to, from) = (&column.data_type, &value.data_type);
        if from == to || from.is_integer() && to.is_integer() {
            return Ok(value);
        }
        if *from == SqlType::Null || common_type(to, from).as_ref() == Some(to) {
            return coerce(value, to);
        }
        Err(ExprError {
            span: value.span,
            what: format!("`{}.{}` is {to}, and this is {from}", self.table.name, column.name),
            help: Some(format!("write CAST(… AS {to}), or declare the table's column as {from}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::parse_type;

    fn column(name: &str, text: &str) -> Column {
        let (data_type, nullable) = parse_type(text).unwrap();
        Column::new(name, data_type, nullable)
    }

    fn taken_apart(text: &str) -> Result<Vec<String>, Vec<String>> {
        let table = column("t", "ROW<id BIGINT, day DATE, amount DECIMAL(12, 2), name STRING>");
        let rows = [
            ("n", "INT"),
            ("price", "DECIMAL(5, 1)"),
            ("wide", "DECIMAL(12, 4)"),
            ("name", "STRING"),
            ("at", "TIMESTAMP(3)"),
        ];
        let rows = Schema::new(rows.map(|(name, text)| column(name, text)).to_vec());
        let key: &[&str] = if text.contains("amount") {
            &["amount"]
        } else if text.contains("day") {
            &["id", "day"]
        } else {
            &["id"]
        };
        match table_keys(text, &table, key, &rows) {
            Ok(keys) => {
                Ok(keys.iter().map(|key| format!("{} {}", key.column, key.value.data_type())).collect())
            }
            Err(errors) => Err(errors
                .into_iter()
                .map(|error| format!("{}: {}", &text[error.span.0..error.span.1], error.what))
                .collect()),
        }
    }

    #[test]
    fn equalities_of_the_key_are_taken_apart() {
        let check = |text: &str, expect: &[&str]| assert_eq!(taken_apart(text).unwrap(), expect, "{text}");
        check("t.id = n", &["id INT"]);
        check("n + 1 = (t.id)", &["id INT"]);
        check("(t.id = MOD(n, 7)) AND t.day = CAST(at AS DATE)", &["id INT", "day DATE"]);
        check("t.amount = price", &["amount DECIMAL(12, 2)"]);
        check("t.amount = n", &["amount DECIMAL(12, 2)"]);
    }

    #[test]
    fn anything_else_is_told() {
        let check = |text: &str, expect: &[&str]| {
            let found = taken_apart(text).unwrap_err();
            assert_eq!(found.len(), expect.len(), "{text}: {found:?}");
            for (found, expect) in found.iter().zip(expect) {
                assert!(found.contains(expect), "{text}: {found}");
            }
        };
        check("t.id > n", &["t.id > n: `match` is made of equalities"]);
        check("t.id = n OR t.id = 1", &["made of equalities"]);
        check("t.id = t.id", &["made of equalities"]);
        check("t.id = t.id + 1", &["t.id + 1: a value of the row belongs here"]);
        check("t.id = n AND t.id = 5", &["t.id = 5: `t.id` is matched twice"]);
        check("t.id = n AND n > 1", &["n > 1: `match` is made"]);
        check("t.id = n AND t.name = name", &["t.name = name: `name` is no key column"]);
        check("t.id = nope", &["nope"]);
        check("t.day = CAST(at AS DATE)", &["lacks `t.id`"]);
        check("t.amount = wide", &["wide: `t.amount` is DECIMAL(12, 2), and this is DECIMAL(12, 4)"]);
        check("t.id = name", &["name: `t.id` is BIGINT, and this is STRING"]);
    }
}
