//! LISTAGG: texts joined in the order of their arrival; NULL is skipped.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};

use super::form::{Bytes, Form};
use super::grouped::{Grouped, Rule};
use super::saved::column;
use super::sequence::Sequence;
use super::{Accumulator, Argument, Call, Distinct, Function};
use crate::record::SqlType;

/// The entry in the registry.
pub(super) const LISTAGG: Function = Function {
    name: "LISTAGG",
    aliases: &[],
    signature: "LISTAGG([DISTINCT] text[, separator])",
    summary: "the texts joined in order of arrival, with ',' or another constant separator; NULL over no values",
    retracts: true,
    distinct: Distinct::Values,
    by_order: true,
    resolve,
    build,
};

fn resolve(arguments: &[Argument]) -> Result<(SqlType, bool), String> {
    let (text, separator) = match arguments {
        [text] => (text, None),
        [text, separator] => (text, Some(separator)),
        _ => return Err("LISTAGG takes a text and, if need be, a separator".to_owned()),
    };
    if text.data_type != SqlType::String {
        return Err(format!("LISTAGG takes a STRING, not {}: CAST(… AS STRING)", text.data_type));
    }
    match separator {
        Some(separator) if separator.data_type != SqlType::String || separator.constant.is_none() => {
            Err("the separator of LISTAGG is a constant text, as in LISTAGG(name, '; ')".to_owned())
        }
        _ => Ok((SqlType::String, true)),
    }
}

fn build(call: &Call) -> Box<dyn Accumulator> {
    let given = call.arguments.get(1).and_then(|argument| argument.constant.clone());
    let separator = given.unwrap_or_else(|| ",".to_owned());
    if call.retracts {
        let form = Bytes::new(SqlType::String.arrow());
        return Grouped::boxed(Parts { separator, form }, true);
    }
    Grouped::boxed(Joined { separator }, false)
}

/// The text joined so far.
struct Joined {
    separator: String,
}

impl Rule for Joined {
    type State = String;
    type Column = StringArray;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> StringArray {
        arguments[0].as_string::<i32>().clone()
    }

    fn add(&self, joined: &mut String, seen: bool, column: &StringArray, row: usize) {
        if seen {
            joined.push_str(&self.separator);
        }
        joined.push_str(column.value(row));
    }

    fn retract(&self, _: &mut String, _: &StringArray, _: usize) {
        unreachable!("a call that may retract keeps all values");
    }

    fn merge(&self, joined: &mut String, seen: bool, later: &String) {
        if seen {
            joined.push_str(&self.separator);
        }
        joined.push_str(later);
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a String>>) -> ArrayRef {
        Arc::new(states.collect::<StringArray>())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", DataType::Utf8)]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a String>> + Clone) -> Vec<ArrayRef> {
        vec![self.finish(states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<String> {
        let texts = columns[0].as_string::<i32>();
        (0..texts.len()).map(|row| texts.value(row).to_owned()).collect()
    }

    fn heap(&self, joined: &String) -> usize {
        joined.capacity()
    }
}

/// All texts, where some may be taken back.
struct Parts {
    separator: String,
    form: Bytes,
}

impl Rule for Parts {
    type State = Sequence<Bytes>;
    type Column = StringArray;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> StringArray {
        arguments[0].as_string::<i32>().clone()
    }

    fn add(&self, texts: &mut Sequence<Bytes>, _: bool, column: &StringArray, row: usize) {
        texts.push(Some(Bytes::keep(column.value(row).as_bytes())));
    }

    fn retract(&self, texts: &mut Sequence<Bytes>, column: &StringArray, row: usize) {
        texts.remove(Some(column.value(row).as_bytes()));
    }

    fn merge(&self, texts: &mut Sequence<Bytes>, _: bool, later: &Sequence<Bytes>) {
        texts.extend(later);
    }

    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Sequence<Bytes>>>) -> ArrayRef {
        let mut results = StringBuilder::new();
        for texts in states {
            let joined = texts.map(|texts| {
                let parts = texts.iter().flatten();
                let parts = parts.map(|text| str::from_utf8(text).expect("taken from a text column"));
                parts.collect::<Vec<_>>().join(&self.separator)
            });
            results.append_option(joined);
        }
        Arc::new(results.finish())
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", Sequence::lists_type(&self.form))]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Sequence<Bytes>>> + Clone) -> Vec<ArrayRef> {
        vec![Sequence::lists(&self.form, states)]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Sequence<Bytes>> {
        Sequence::load(&self.form, &columns[0])
    }

    fn heap(&self, texts: &Sequence<Bytes>) -> usize {
        texts.heap()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::BooleanArray;

    use super::*;
    use crate::aggregate::tests::{constant, run_with};

    fn check(texts: &[Option<&str>], separator: Option<&str>, filter: Option<Vec<bool>>, expect: &str) {
        let column: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let separator = separator.map(|text| constant(SqlType::String, text));
        let arguments: Vec<Argument> =
            [Some(Argument::column(SqlType::String)), separator].into_iter().flatten().collect();
        let filter = filter.map(BooleanArray::from);
        assert_eq!(run_with("LISTAGG", &arguments, &column, filter.as_ref()), expect, "{texts:?}");
    }

    #[test]
    fn texts_are_joined() {
        check(&[Some("a"), None, Some("b")], None, None, "a,b");
        check(&[Some("a"), Some(""), Some("b")], Some("; "), None, "a; ; b");
        check(&[Some("a"), Some("b")], Some(""), None, "ab");
        check(&[Some("a"), Some("b"), Some("c")], None, Some(vec![true, false, true]), "a,c");
        check(&[Some("")], None, None, "");
        check(&[None, None], None, None, "");
    }
}
