//! Which partition a row belongs to, and what its folder is called.
//!
//! The folder is called like the value's text, so that people find it; what cannot be in a name, or would lead
//! elsewhere, is written as `%` and two hexadecimal digits a byte. Two values never get one folder.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_64;

use super::levels::{Level, Levels};
use crate::error::{Problem, Problems};
use crate::expr::{Expr, compile, compile_at};
use crate::record::{Schema, SqlType};
use crate::yaml::Node;

/// The folder of rows whose value is NULL.
const NULL: &str = "__NULL__";

/// The folder of rows whose value cannot be told: the expression fails for them.
const FAILED: &str = "__FAILED__";

/// The folder of rows whose value is an empty text.
const EMPTY: &str = "__EMPTY__";

/// Longer names are cut, and end in a hash of the whole: file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 200;

/// How much of a longer name is kept, bytes.
const NAME_BYTES_KEPT: usize = 160;

/// How rows are divided into partitions.
#[derive(Clone, Debug)]
pub struct PartitionBy {
    /// From the outermost folder inwards.
    levels: Vec<By>,
}

/// What one folder is called after.
#[derive(Clone, Debug)]
struct By {
    /// What stands before the value, with its `=`; empty where that is the whole name.
    head: String,
    /// The value's text.
    expression: Expr,
}

/// The rows of one batch that belong to one partition.
#[derive(Clone, Debug)]
pub struct Partitioned {
    /// The partition's name, which is safe as the name of a folder, or of folders in one another with `/` between.
    pub name: String,
    /// Its rows, in the order of the batch.
    pub rows: RecordBatch,
}

/// Reports what is wrong with `partition_by`; yields its expression, whose type is one that has a text.
pub(super) fn check(node: &Node, rows: &Schema, problems: &mut Problems) -> Option<Expr> {
    let expression = compile_at(node, rows, problems)?;
    let problem = match expression.data_type() {
        SqlType::Float
        | SqlType::Double
        | SqlType::Bytes
        | SqlType::Array(..)
        | SqlType::Map(..)
        | SqlType::Row(_) => {
            let what = format!("`partition_by` names folders, and this is {}", expression.data_type());
            Problem::error(node.at, what)
                .help("take a text, a whole number, a DECIMAL, a date or a time of it")
        }
        SqlType::Null => Problem::error(node.at, "`partition_by` is always NULL").help("remove it"),
        _ => return Some(expression),
    };
    problems.push(problem);
    None
}

impl PartitionBy {
    /// Divides rows of a schema by expressions that have been checked.
    pub(super) fn new(levels: &Levels, schema: &Schema) -> Option<Self> {
        let level = |level: &Level| {
            // On lines of its own: the expression may end in a comment.
            let text = format!("CAST((\n{}\n) AS STRING)", level.expression.expression()?);
            let head = level.name.as_ref().map(|name| format!("{name}=")).unwrap_or_default();
            Some(By { head, expression: compile(&text, schema).ok()? })
        };
        Some(Self { levels: levels.levels.iter().map(level).collect::<Option<_>>()? })
    }

    /// Divides a batch, at a time of `wall_ms` milliseconds after 1970-01-01T00:00:00Z. The partitions are in the order
    /// of their first rows.
    #[must_use]
    pub fn divide(&self, rows: &RecordBatch, wall_ms: i64) -> Vec<Partitioned> {
        let mut folders = vec![String::new()];
        let mut of_rows = vec![0; rows.num_rows()];
        for level in &self.levels {
            folders = level.descend(rows, wall_ms, &folders, &mut of_rows);
        }
        if folders.len() == 1 {
            return folders.into_iter().map(|name| Partitioned { name, rows: rows.clone() }).collect();
        }
        let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); folders.len()];
        for (row, folder) in (0..).zip(of_rows) {
            numbers[folder].push(row);
        }
        let part = |(name, numbers): (String, Vec<u32>)| Partitioned {
            name,
            rows: take_record_batch(rows, &UInt32Array::from(numbers)).expect("the rows are there"),
        };
        folders.into_iter().zip(numbers).map(part).collect()
    }
}

impl By {
    /// Goes from the folders of rows (`of_rows`, by their place among `folders`) to the folders in them; yields those.
    fn descend(
        &self,
        rows: &RecordBatch,
        wall_ms: i64,
        folders: &[String],
        of_rows: &mut [usize],
    ) -> Vec<String> {
        let evaluated = self.expression.evaluate_at(rows, wall_ms);
        let texts = evaluated.values.as_string::<i32>();
        let mut failed = evaluated.failed.iter().peekable();
        let mut found: Vec<(usize, Value<'_>)> = Vec::new();
        let mut known: HashMap<(usize, Value<'_>), usize> = HashMap::new();
        let mut last = None;
        for (row, folder) in of_rows.iter_mut().enumerate() {
            let value = match failed.next_if(|(at, _)| *at as usize == row) {
                Some(_) => Value::Failed,
                None if texts.is_null(row) => Value::Null,
                None => Value::Text(texts.value(row)),
            };
            let place = (*folder, value);
            // Rows of one partition often come one behind the other.
            let inner = match last {
                Some((before, inner)) if before == place => inner,
                _ => *known.entry(place).or_insert_with(|| {
                    found.push(place);
                    found.len() - 1
                }),
            };
            last = Some((place, inner));
            *folder = inner;
        }
        let is_named = !self.head.is_empty();
        let path = |(folder, value): (usize, Value<'_>)| {
            let between = if folders[folder].is_empty() { "" } else { "/" };
            format!("{}{between}{}{}", folders[folder], self.head, name(value, is_named))
        };
        found.into_iter().map(path).collect()
    }
}

/// What the expression comes to for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Value<'a> {
    Failed,
    Null,
    Text(&'a str),
}

/// The folder of a value; what follows its `=` where it `is_named`.
fn name(value: Value<'_>, is_named: bool) -> String {
    let text = match value {
        Value::Failed => return FAILED.to_owned(),
        Value::Null => return NULL.to_owned(),
        Value::Text(text) => text,
    };
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    let mut name = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let is_plain = match c {
            // Hidden, or the way up.
            '.' => at > 0,
            // Only names of ours begin so.
            '_' => at > 0 || !text.starts_with("__"),
            // Readers look for the only one.
            '=' => !is_named,
            '-' | '+' | ',' | '@' | ':' | ' ' => at > 0 || c != ' ',
            // `~` stands where a name was cut.
            '~' | '%' => false,
            _ => c.is_alphanumeric(),
        };
        if is_plain {
            name.push(c);
            continue;
        }
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            write!(name, "%{byte:02X}").expect("a string takes everything");
        }
    }
    if name.len() > NAME_BYTES_MAX {
        let kept = name.floor_char_boundary(NAME_BYTES_KEPT);
        name.truncate(kept);
        write!(name, "~{:016x}", xxh3_64(text.as_bytes())).expect("a string takes everything");
    }
    name
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Component, Path};
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;
    use crate::record::Column;
    use crate::yaml::Fields;

    #[test]
    fn a_folder_is_called_like_its_value() {
        let check = |text: &str, expect: &str| assert_eq!(name(Value::Text(text), false), expect);
        assert_eq!(name(Value::Null, false), "__NULL__");
        check("", "__EMPTY__");
        check("2026-11-21", "2026-11-21");
        check("2026-11-21 10:00", "2026-11-21 10:00");
        check("Zürich", "Zürich");
        check("_x_", "_x_");
        check("__NULL__", "%5F_NULL__");
        check(".", "%2E");
        check("..", "%2E.");
        check(".hidden.tmp", "%2Ehidden.tmp");
        check("a/../b", "a%2F..%2Fb");
        check("/etc/passwd", "%2Fetc%2Fpasswd");
        check("a\0b\n\\", "a%00b%0A%5C");
        check("50%~", "50%25%7E");
        check(" ", "%20");
        check("\u{202e}", "%E2%80%AE");
        check("a=b", "a=b");
        assert_eq!(name(Value::Text("a=b:c"), true), "a%3Db:c");
        let long = "é".repeat(300);
        let cut = name(Value::Text(&long), false);
        assert!(cut.len() <= 200 && cut.starts_with("éé") && cut.contains('~'), "{cut}");
        assert_ne!(cut, name(Value::Text(&(long + "x")), false));
    }

    #[test]
    fn no_two_values_share_a_folder_and_none_leads_out_of_it() {
        let mut random = fastrand::Rng::with_seed(3);
        let letters: Vec<char> = "._/%~= \0\\aB5F2E3D-é\u{1F600}\n:".chars().collect();
        for is_named in [false, true] {
            let (mut values, mut names) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..20_000 {
                let length = if random.u8(0..50) == 0 { random.usize(100..400) } else { random.usize(0..6) };
                let text: String = (0..length).map(|_| letters[random.usize(0..letters.len())]).collect();
                let name = name(Value::Text(&text), is_named);
                let parts: Vec<Component<'_>> = Path::new(&name).components().collect();
                assert!(matches!(parts.as_slice(), [Component::Normal(_)]), "{text:?}: {name}");
                assert!(
                    name.len() <= 204 && !name.starts_with('.') && !name.contains('\0'),
                    "{text:?}: {name}"
                );
                values.insert(text);
                names.insert(name);
            }
            assert_eq!(values.len(), names.len());
        }
    }

    fn levels(text: &str) -> Levels {
        let mut problems = Problems::new();
        let node = crate::yaml::parse(0, &format!("partition_by: {text}"), &mut problems).unwrap();
        let levels = Levels::read(&mut Fields::of(&node, "sink.files", &mut problems), &mut problems);
        assert!(problems.all().is_empty(), "{:?}", problems.all());
        levels.unwrap()
    }

    #[test]
    fn rows_are_divided_in_their_order_and_those_that_fail_apart() {
        let schema = Schema::new(vec![
            Column::new("k", SqlType::String, true),
            Column::new("n", SqlType::String, true),
        ]);
        let keys = StringArray::from(vec![Some("a"), Some("a"), None, Some("b"), Some("a"), Some("")]);
        let numbers = StringArray::from(vec!["1", "2", "3", "4", "5", "x"]);
        let rows =
            RecordBatch::try_new(schema.arrow().clone(), vec![Arc::new(keys), Arc::new(numbers)]).unwrap();
        let divide = |by: &str| {
            let parts = PartitionBy::new(&levels(by), &schema).unwrap().divide(&rows, 0);
            let text = |part: &Partitioned| {
                let numbers: Vec<&str> = part.rows.column(1).as_string::<i32>().iter().flatten().collect();
                format!("{}:{}", part.name, numbers.concat())
            };
            parts.iter().map(text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(divide("k"), "a:125 __NULL__:3 b:4 __EMPTY__:x");
        assert_eq!(divide("\"'all'\""), "all:12345x");
        assert_eq!(divide("CAST(n AS BIGINT) / 3"), "0:12 1:345 __FAILED__:x");
        assert_eq!(divide("k -- a comment"), "a:125 __NULL__:3 b:4 __EMPTY__:x");
        assert_eq!(divide("{ k: k }"), "k=a:125 k=__NULL__:3 k=b:4 k=__EMPTY__:x");
        let by_number = "{ k: k, half: CAST(n AS BIGINT) / 3 }";
        let expect =
            "k=a/half=0:12 k=__NULL__/half=1:3 k=b/half=1:4 k=a/half=1:5 k=__EMPTY__/half=__FAILED__:x";
        assert_eq!(divide(by_number), expect);
        let outside_in = "{ half: CAST(n AS BIGINT) / 3, k: k }";
        let expect =
            "half=0/k=a:12 half=1/k=__NULL__:3 half=1/k=b:4 half=1/k=a:5 half=__FAILED__/k=__EMPTY__:x";
        assert_eq!(divide(outside_in), expect);
        assert_eq!(divide("{ all: \"'/'\", b: \"'x=y'\" }"), "all=%2F/b=x%3Dy:12345x");
        assert!(PartitionBy::new(&levels("k"), &schema).unwrap().divide(&rows.slice(0, 0), 0).is_empty());
    }
}
