//! `sample`: keeps a share of the rows, the same ones in every run and on any number of shards.
//!
//! A row stays where a hash of it, as a fraction of all hashes, is below the rate. What is hashed: the bytes of the key
//! where there is one, so that all rows of a key stay or go together; else where the row stands in the input (source
//! and position), so that what one record was exploded into stays or goes together; else, for rows that were made
//! rather than read, the row as JSON, so that equal rows stay or go together. A greater rate keeps the rows of a
//! smaller one and more; another seed draws anew.

use std::sync::Arc;

use arrow::array::BooleanArray;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::by::{By, Keys};
use super::expression::evaluate_all;
use super::key_bytes::KeyBytes;
use super::{Build, Context, Flow, Operator, Part, Resolved, Step, Verb};
use crate::codec::Encode;
use crate::codec::json::JsonEncoder;
use crate::error::{Place, Problem, Problems};
use crate::expr::Expr;
use crate::record::{Batch, Origin, Paths, Schema};
use crate::yaml::{Fields, Node};

/// The entry in the registry.
pub(super) const VERB: Verb = Verb {
    name: "sample",
    summary: "keeps a share of the rows, the same ones in every run: `10%`, or `rate`, `by` (whole keys), `seed`",
    example: "sample: { rate: 10%, by: user, seed: 7 }",
    parse,
};

/// More digits behind the point than anybody needs, and few enough for exact arithmetic.
const DECIMALS_MAX: usize = 12;

#[derive(Debug)]
struct Declared {
    at: Place,
    rate: Share,
    rate_text: String,
    by: By,
    seed: u64,
}

/// A share of all hashes: those below this value, at most 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share(u128);

fn parse(node: &Node, at: Place, problems: &mut Problems) -> Option<Box<dyn Step>> {
    let nothing = Node::nothing(at);
    let is_map = node.map().is_some() || node.is_null();
    let mut fields = Fields::of(if is_map { node } else { &nothing }, "sample", problems);
    let rate_node = if is_map { fields.required("rate", problems) } else { Some(node) };
    let rate = rate_node.and_then(|node| share(node, problems));
    let by = By::parse_unnamed(&mut fields, "by", problems);
    let seed = match fields.take("seed") {
        Some(_) => fields.whole("seed", 0, u64::MAX, problems),
        None => Some(0),
    };
    fields.finish(problems);
    let rate_text = rate_node?.text()?.to_owned();
    Some(Box::new(Declared { at, rate: rate?, rate_text, by: by?, seed: seed? }))
}

fn share(node: &Node, problems: &mut Problems) -> Option<Share> {
    node.read_as(problems, parse_share, || {
        let found = node.text().map_or_else(|| node.kind().to_owned(), |text| format!("`{text}`"));
        Problem::error(node.at, format!("a sample's rate is a share from 0% to 100%, not {found}"))
            .help("write for instance 10% or 0.5%")
    })
}

/// `12.5%`: exact, so that every machine draws the same rows.
fn parse_share(text: &str) -> Option<Share> {
    let number = text.trim().strip_suffix('%')?.trim_end();
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || decimals.len() > DECIMALS_MAX {
        return None;
    }
    if number.ends_with('.') || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let digits: u128 = format!("{whole}{decimals}").parse().ok()?;
    let all = 100 * 10_u128.pow(u32::try_from(decimals.len()).ok()?);
    (digits <= all).then(|| Share((digits << 64) / all))
}

impl Share {
    fn holds(self, hash: u64) -> bool {
        u128::from(hash) < self.0
    }
}

impl Step for Declared {
    fn resolve(&self, input: &Flow, problems: &mut Problems) -> Option<Resolved> {
        let key = self.by.resolve(&input.schema, problems)?;
        self.check_changelog(&key, input, problems)?;
        if key.expressions().any(Expr::uses_clock) {
            problems.push(
                Problem::error(
                    self.by.at(self.at),
                    "a key that reads the present time draws other rows in every run",
                )
                .help("name columns of the row"),
            );
            return None;
        }
        let what = if self.by.is_empty() { "rows" } else { "keys" };
        let description =
            format!("sample {} of the {what}{}, seed {}", self.rate_text, self.by.describe("by"), self.seed);
        let (rate, seed, schema, running) = (self.rate, self.seed, input.schema.clone(), key.clone());
        let build = Build::new(description, move || {
            let key = running.clone();
            Box::new(Sample { rate, seed, key, schema: schema.clone(), text: Vec::new(), ready: None })
        });
        // Behind a keyed step, where rows have no position, all of the row decides, whatever is used of it later.
        let whole = (self.by.is_empty() && !input.ordered).then(|| Paths::all(&input.schema));
        Some(Resolved {
            output: input.clone(),
            parts: vec![Part::Operator(build)],
            side: Vec::new(),
            required: Box::new(move |output| {
                let mut needed = whole.clone().unwrap_or_else(|| output.clone());
                for part in key.expressions() {
                    needed.extend(part.paths());
                }
                needed
            }),
        })
    }
}

impl Declared {
    /// A row and what takes it back have to meet the same fate, and with them all versions of a row: the key of the
    /// sample may hold only columns that are the same in all of them.
    fn check_changelog(&self, key: &Keys, input: &Flow, problems: &mut Problems) -> Option<()> {
        let Some(changelog) = &input.changelog else { return Some(()) };
        let known = changelog.key.as_deref().unwrap_or_default();
        let mut read = key.expressions().flat_map(Expr::paths);
        if !self.by.is_empty() && read.all(|path| known.contains(&path[0])) {
            return Some(());
        }
        let problem = Problem::error(
            self.by.at(self.at),
            "rows may be taken back here, and a sample could keep a row without what takes it back",
        );
        problems.push(if known.is_empty() {
            problem.help("put `sample` before the step that corrects its earlier output")
        } else {
            problem.help(format!("sample by columns of the rows' key: {}", known.join(", ")))
        });
        None
    }
}

struct Sample {
    rate: Share,
    seed: u64,
    key: Keys,
    schema: Schema,
    /// Rows as JSON; kept for its memory.
    text: Vec<u8>,
    ready: Option<Batch>,
}

impl Operator for Sample {
    fn push(&mut self, batch: Batch, context: &mut Context) {
        let expressions: Vec<_> = self.key.expressions().collect();
        let (batch, columns) = evaluate_all(&expressions, "sample", &self.schema, batch, context);
        let keep: Vec<bool> = if !columns.is_empty() {
            let keys = KeyBytes::of_columns(&columns, batch.len(), &self.key.codec);
            let holds = |row: usize| self.rate.holds(xxh3_64_with_seed(keys.key(row), self.seed));
            (0..batch.len()).map(holds).collect()
        } else if let Some(origin) = &batch.origin {
            self.by_position(origin, batch.len())
        } else {
            self.by_content(&batch)
        };
        self.ready = Some(batch.filter(&BooleanArray::from(keep)));
    }

    fn pull(&mut self, _: &mut Context) -> Option<Batch> {
        self.ready.take()
    }
}

impl Sample {
    fn by_position(&self, origin: &Origin, rows: usize) -> Vec<bool> {
        let source: &Arc<str> = &origin.source;
        let seed = xxh3_64_with_seed(source.as_bytes(), self.seed);
        let positions = (0..rows).map(|row| origin.raw(row).0);
        positions.map(|position| self.rate.holds(xxh3_64_with_seed(&position.to_le_bytes(), seed))).collect()
    }

    fn by_content(&mut self, batch: &Batch) -> Vec<bool> {
        self.text.clear();
        JsonEncoder::new(&self.schema).encode(&batch.rows, &mut self.text);
        let lines = self.text.split_inclusive(|byte| *byte == b'\n');
        let keep: Vec<bool> =
            lines.map(|line| self.rate.holds(xxh3_64_with_seed(line.trim_ascii_end(), self.seed))).collect();
        assert_eq!(keep.len(), batch.len(), "JSON has one line for each row");
        keep
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::UInt64Array;

    use super::super::verify::{block, check, example_schema, flow_of, resolve_step, run};
    use super::*;
    use crate::codec::Decode;
    use crate::codec::framing::frame_lines;
    use crate::codec::json::JsonDecoder;

    #[test]
    fn rates_are_exact() {
        for (text, expect) in [
            ("100%", Some(1 << 64)),
            ("0%", Some(0)),
            ("50 %", Some(1 << 63)),
            ("12.5%", Some(1 << 61)),
            ("0.000000000001%", Some((1 << 64) / 100_000_000_000_000)),
            ("100.1%", None),
            ("0.0000000000001%", None),
            ("10", None),
            ("-1%", None),
            ("%", None),
            ("5.%", None),
            (".5%", None),
            ("1e1%", None),
            ("999999999999999999999999999999999999999%", None),
        ] {
            assert_eq!(parse_share(text), expect.map(Share), "{text}");
        }
    }

    #[test]
    fn all_or_nothing() {
        let rows = [r#"{"id":1,"user":"a"}"#, r#"{"id":2,"user":null}"#];
        check("sample: 100%", &rows, &rows);
        check("sample: 0%", &rows, &[]);
        check("sample: { rate: 100%, by: user }", &rows, &rows);
        check("sample: { rate: 0%, by: [user, id] }", &rows, &[]);
    }

    #[test]
    fn a_key_that_fails_sends_its_row_to_quarantine() {
        for by in ["10 / price", "{ part: 10 / price }"] {
            check(
                &format!("sample: {{ rate: 100%, by: {by} }}"),
                &[r#"{"price":0}"#, r#"{"price":5}"#],
                &[r#"{"price":5}"#, "rejected: division by zero"],
            );
        }
    }

    #[test]
    fn a_changelog_is_sampled_by_its_key_alone() {
        let input = Flow {
            changelog: Some(super::super::Changelog { key: Some(vec!["user".to_owned(), "id".to_owned()]) }),
            ..flow_of(&example_schema())
        };
        for (options, right) in
            [("{ rate: 10%, by: user }", true), ("{ rate: 10%, by: price }", false), ("10%", false)]
        {
            let mut problems = Problems::new();
            let node = crate::yaml::parse(0, options, &mut problems).unwrap();
            let step = parse(&node, node.at, &mut problems).unwrap();
            assert_eq!(step.resolve(&input, &mut problems).is_some(), right, "{options}");
        }
    }

    /// The ids that the step keeps of 4000 rows of 100 users, cut into blocks of this many rows.
    fn kept(step: &str, rows_per_block: usize, with_origin: bool) -> Vec<i64> {
        let full = example_schema();
        let schema =
            Schema::new(vec![full.column("id").unwrap().clone(), full.column("user").unwrap().clone()]);
        let mut text = Vec::new();
        for id in 0..4000 {
            text.extend_from_slice(format!("{{\"id\":{id},\"user\":\"u{}\"}}\n", id % 100).as_bytes());
        }
        let (mut spans, mut rejected) = (Vec::new(), Vec::new());
        frame_lines(&text, &mut spans);
        let rows = JsonDecoder::new(&schema).decode(&text, &spans, &mut rejected);
        let bytes = Arc::new(text);
        let blocks = (0..4000).step_by(rows_per_block).enumerate().map(|(number, from)| {
            let count = rows_per_block.min(4000 - from);
            let mut batch = block(&schema, rows.slice(from, count), number as u64, from + count == 4000);
            // As if each block had been read by itself: bases differ, positions do not.
            let base = spans[from] >> 32;
            let spans = spans[from..from + count].iter().map(|span| span - (base << 32));
            let spans = UInt64Array::from(spans.collect::<Vec<_>>());
            let from = usize::try_from(base).unwrap();
            batch.origin =
                with_origin.then(|| Origin { source: "in".into(), base, bytes: bytes.clone(), from, spans });
            batch
        });
        let resolved = resolve_step(step, &flow_of(&schema));
        let output = run(&resolved, 1, usize::MAX, &blocks.collect::<Vec<_>>());
        let ids = output.batches.iter().flat_map(|batch| {
            use arrow::array::AsArray;
            batch.rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values().to_vec()
        });
        ids.collect()
    }

    #[test]
    fn the_same_rows_stay_however_the_input_is_cut() {
        for with_origin in [false, true] {
            let whole = kept("sample: 25%", 4000, with_origin);
            assert!((850..1150).contains(&whole.len()), "{} of 4000 are not a quarter", whole.len());
            assert_eq!(kept("sample: 25%", 7, with_origin), whole);
            let more = kept("sample: 50%", 1000, with_origin);
            assert!(
                whole.iter().all(|id| more.contains(id)),
                "a greater rate keeps what a smaller one keeps"
            );
            assert_ne!(kept("sample: { rate: 25%, seed: 1 }", 4000, with_origin), whole);
        }
    }

    #[test]
    fn all_rows_of_a_kept_key_stay() {
        let ids = kept("sample: { rate: 25%, by: user }", 33, true);
        let users: std::collections::BTreeSet<i64> = ids.iter().map(|id| id % 100).collect();
        assert_eq!(ids.len(), users.len() * 40);
        assert!((12..40).contains(&users.len()), "{} of 100 users are not a quarter", users.len());
    }
}
