//! A table of edits of one file: what becomes of each state and each output.

use std::collections::BTreeMap;

use super::*;
use crate::config;
use crate::error::Problems;
use crate::plan::plan;
use crate::yaml::render;

const FILE: &str = "\
millstream: 1
name: spend
source:
  file: { path: in.ndjson }
  format: json
  schema: { user: STRING, amount: BIGINT, fee: BIGINT, at: TIMESTAMP(3) }
  event_time: { column: at, out_of_order: 5s }
steps:
  - filter: amount > 0
  - dedupe: { name: once, by: [user, amount], within: 1m }
  - set: { gross: amount + fee }
  - aggregate:
      name: sums
      by: user
      window: { tumbling: 10s }
      late: { to: too_late }
      select:
        total: SUM(gross)
        most: MAX(gross)
        mean: AVG(gross)
  - filter: total > 1
sink:
  files: { path: out, roll: { every: 1m } }
  format: json
sinks:
  late: { from: too_late, file: { path: late.ndjson }, format: json }
run: { cores: 1 }
";

fn fingerprint(text: &str) -> Fingerprint {
    let environment = BTreeMap::from([("IN".to_owned(), "in.ndjson".to_owned())]);
    let read = config::read("file.yaml", text.as_bytes(), &[], &environment);
    let mut problems: Problems = read.problems;
    let planned = read.pipeline.and_then(|pipeline| plan(&pipeline, &mut problems));
    assert!(!problems.has_errors(), "{}", render(&read.documents, &problems, false));
    planned.expect("a file without mistakes").fingerprint
}

/// The file with these pieces replaced, each of which is there once.
fn edited(file: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(file.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
        text.replace(from, to)
    })
}

/// What an edit of a file comes to: `fate name` for all that does not go on as it is, then the notes.
fn outcome(file: &str, edits: &[(&str, &str)]) -> Vec<String> {
    let upgrade = Upgrade::of(&fingerprint(file), &fingerprint(&edited(file, edits)));
    let changes = upgrade.states().iter().chain(upgrade.outputs());
    let changes: Vec<&Change> = changes.filter(|change| change.fate != Fate::Kept).collect();
    let refused = changes.iter().any(|change| change.fate.is_refused()) || upgrade.is_refused_for_good();
    assert_eq!(upgrade.refused().is_some(), refused, "{edits:?}");
    for change in upgrade.states() {
        let goes_on = matches!(change.fate, Fate::Kept | Fate::Migrated);
        assert_eq!(upgrade.kept().contains(&change.name), goes_on, "{edits:?}: {change:?}");
    }
    let lines = changes.iter().map(|change| format!("{} {}", change.fate.word(), change.name));
    lines.chain(upgrade.other_notes().iter().cloned()).collect()
}

fn check(edits: &[(&str, &str)], expect: &[&str]) {
    assert_eq!(outcome(FILE, edits), expect, "{edits:?}");
}

#[test]
fn what_means_the_same_is_kept() {
    for edits in [
        &[][..],
        &[("millstream: 1\n", "# a comment\nmillstream: 1\n")],
        &[("amount > 0", "'amount > 0'")],
        &[("  - filter: amount > 0\n", "  - filter: |\n      amount\n        > 0\n")],
        &[("{ tumbling: 10s }", "\n        tumbling: \"10s\"")],
        &[(
            "{ name: once, by: [user, amount], within: 1m }",
            "{ within: 1m, by: [user, amount], name: once }",
        )],
        &[("path: in.ndjson", "path: \"${IN}\"")],
        &[("path: in.ndjson", "path: \"${OUT:-in.ndjson}\"")],
        &[("run: { cores: 1 }", "run: { cores: 4, memory: 1GiB, snapshot: { every: 1s } }")],
    ] {
        check(edits, &[]);
    }
}

#[test]
fn state_goes_on_only_where_it_means_the_same() {
    let files = "        total: SUM(gross)\n        most: MAX(gross)\n        mean: AVG(gross)\n";
    let selected = |select: &'static str| [(files, select)];
    check(&[("within: 1m", "within: 2m")], &["changed once"]);
    check(&[("by: user", "by: [user, fee]")], &["changed sums"]);
    check(&[("{ tumbling: 10s }", "{ tumbling: 20s }")], &["changed sums"]);
    check(&[("MAX(gross)", "MIN(gross)")], &["changed sums"]);
    check(&[("most: MAX", "top: MAX")], &["changed sums"]);
    // A new result would know nothing of the rows before it.
    check(&[("        mean:", "        rows: COUNT(*)\n        mean:")], &["changed sums"]);
    // What is left of the results has all that it needs.
    check(&selected("        total: SUM(gross)\n"), &["migrated sums"]);
    check(&selected("        total: SUM(gross)\n        mean: AVG(gross)\n"), &["migrated sums"]);
    check(
        &selected("        mean: AVG(gross)\n        total: SUM(gross)\n        most: MAX(gross)\n"),
        &["migrated sums"],
    );
    check(&selected("        total: SUM(gross)\n        most: MIN(gross)\n"), &["changed sums"]);
    // The type of what is added up has changed under a step that says what it said.
    check(
        &[("amount: BIGINT", "amount: DOUBLE")],
        &["changed once", "changed sums", "the source: schema.amount `BIGINT` → `DOUBLE`: so from here on"],
    );
}

#[test]
fn results_without_a_name_of_their_own_are_not_migrated() {
    let file = edited(FILE, &[("        mean: AVG(gross)\n", "        share: SUM(fee) / COUNT(*)\n")]);
    // Columns that are called by numbers are called otherwise then.
    assert_eq!(outcome(&file, &[("        most: MAX(gross)\n", "")]), ["changed sums"]);
    // Where the results with numbers are those that go, no matter.
    let lost = [("        share: SUM(fee) / COUNT(*)\n", "")];
    assert_eq!(outcome(&file, &lost), ["migrated sums"]);
    // Two results of one call are saved under the name of the first.
    let file = edited(FILE, &[("mean: AVG(gross)", "again: MAX(gross)")]);
    assert_eq!(outcome(&file, &[("        most: MAX(gross)\n", "")]), ["changed sums"]);
    assert_eq!(outcome(&file, &[("        again: MAX(gross)\n", "")]), ["migrated sums"]);
}

#[test]
fn state_belongs_to_a_name() {
    let gone = "  - dedupe: { name: once, by: [user, amount], within: 1m }\n";
    check(&[(gone, "")], &["dropped once"]);
    check(&[("name: once", "name: first")], &["new first", "dropped once"]);
    let added = "  - top: { name: best, n: 1, order: amount DESC, window: { tumbling: 1m } }\n";
    check(&[(gone, &format!("{gone}{added}"))], &["new best"]);
    check(
        &[("name: sums", "name: other"), ("name: once", "name: sums")],
        &[
            "changed sums",
            "new other",
            "dropped once",
            "`set: { gross: amount + fee }` stands behind dedupe `sums` now",
        ],
    );
    let upgrade =
        Upgrade::of(&fingerprint(FILE), &fingerprint(&edited(FILE, &[("name: once", "name: first")])));
    let refused = upgrade.refused().unwrap();
    assert!(refused.contains("dedupe `once`: it is gone"), "{refused}");
    assert!(refused.contains("dedupe `first` does the same"), "{refused}");
}

#[test]
fn state_without_a_name_needs_the_whole_file() {
    let file = edited(FILE, &[("name: once, ", "")]);
    assert_eq!(outcome(&file, &[]), [""; 0]);
    assert_eq!(outcome(&file, &[("cores: 1", "cores: 2")]), [""; 0]);
    let note = "filter: `total > 1` → `total > 2`: so for the rows from here on";
    assert_eq!(outcome(&file, &[("total > 1", "total > 2")]), ["dropped dedupe", note]);
    // The name under which it is kept makes it known.
    assert_eq!(outcome(&file, &[("dedupe: { by", "dedupe: { name: dedupe, by")]), [""; 0]);
    assert_eq!(
        outcome(&file, &[("dedupe: { by", "dedupe: { name: first, by")]),
        ["new first", "dropped dedupe"]
    );
}

#[test]
fn steps_without_state_come_and_go() {
    let filter = "  - filter: amount > 0\n";
    let set = "  - set: { gross: amount + fee }\n";
    check(
        &[("amount > 0", "amount > 1")],
        &["filter: `amount > 0` → `amount > 1`: so for the rows from here on"],
    );
    check(
        &[("amount + fee", "amount")],
        &["set: gross `amount + fee` → `amount`: so for the rows from here on"],
    );
    check(&[(filter, "")], &["`filter: amount > 0` is gone: rows from here on pass without it"]);
    check(
        &[(set, &format!("  - filter: fee > 0\n{set}"))],
        &["`filter: fee > 0` is new, behind dedupe `once`: rows from here on go through it"],
    );
    check(
        &[(filter, ""), (set, &format!("{set}{filter}"))],
        &["`filter: amount > 0` stands behind dedupe `once` now"],
    );
}

#[test]
fn sources_go_on_or_are_others() {
    check(
        &[("path: in.ndjson", "path: other.ndjson")],
        &[
            "the source: file.path `in.ndjson` → `other.ndjson`: this run goes on with the input of the snapshot; what has another name is read by a fresh one",
        ],
    );
    check(
        &[("out_of_order: 5s", "out_of_order: 9s")],
        &[
            "the source: event_time.out_of_order `5s` → `9s`: so from here on; the watermark goes on from where it was",
        ],
    );
    check(
        &[("  format: json\n  schema", "  format: json\n  bad_record: fail\n  schema")],
        &["the source: bad_record `fail` is new: so from here on"],
    );
    let other = Upgrade::of(
        &fingerprint(FILE),
        &fingerprint(&edited(FILE, &[("file: { path: in.ndjson }", "stdin:")])),
    );
    assert!(other.is_refused_for_good());
    let refused = other.refused().unwrap();
    assert!(
        refused.contains("the source: `file` → `stdin`") && !refused.contains("--accept-changes"),
        "{refused}"
    );
}

#[test]
fn outputs_go_on_or_begin() {
    for (from, to, expect, goes_on) in [
        ("every: 1m", "every: 2m", "migrated sink", true),
        ("path: out,", "path: elsewhere,", "replaced sink", false),
        ("files: { path: out, roll: { every: 1m } }", "file: { path: out }", "replaced sink", false),
        ("files: { path: out, roll: { every: 1m } }", "stdout:", "replaced sink", false),
        ("path: late.ndjson", "path: late.txt", "replaced late", false),
        ("path: late.ndjson", "append: true, path: late.ndjson", "replaced late", false),
        ("  late: { from: too_late, file: { path: late.ndjson }, format: json }", "", "dropped late", false),
    ] {
        check(&[(from, to)], &[expect]);
        let upgrade = Upgrade::of(&fingerprint(FILE), &fingerprint(&edited(FILE, &[(from, to)])));
        let name = expect.split(' ').nth(1).unwrap();
        assert_eq!(upgrade.outputs_kept().contains(name), goes_on, "{from} → {to}");
        assert_eq!(upgrade.outputs_kept().len(), 1 + usize::from(goes_on));
    }
    let without =
        edited(FILE, &[("  late: { from: too_late, file: { path: late.ndjson }, format: json }", "")]);
    let upgrade = Upgrade::of(&fingerprint(&without), &fingerprint(FILE));
    assert_eq!(upgrade.refused(), None);
    assert_eq!(upgrade.notes(), ["new: the sink of `late`: it begins with the rows from here on"]);
}

#[test]
fn the_sink_s_own_state_goes_by_what_it_writes() {
    let running = edited(
        FILE,
        &[
            ("      window: { tumbling: 10s }\n      late: { to: too_late }\n", ""),
            ("sinks:\n  late: { from: too_late, file: { path: late.ndjson }, format: json }\n", ""),
            ("files: { path: out, roll: { every: 1m } }", "file: { path: out, changelog: upsert }"),
        ],
    );
    let changelog = |to: &'static str| [("changelog: upsert", to)];
    assert_eq!(outcome(&running, &[]), [""; 0]);
    assert_eq!(outcome(&running, &[("path: out", "path: other")]), ["replaced sink"]);
    assert_eq!(
        outcome(&running, &changelog("changelog: upsert, upsert_by: [total]")),
        ["changed sink", "changed sink"]
    );
    // What has been sent row by row cannot be sent once more at the end.
    assert_eq!(
        outcome(&running, &changelog("changelog: final")),
        ["changed sums", "dropped sink", "changed sink"]
    );
    assert_eq!(outcome(&running, &changelog("changelog: debezium")), ["dropped sink", "changed sink"]);
}

#[test]
fn a_refusal_names_the_change_and_the_ways_out() {
    let edits = [("within: 1m", "within: 2m"), ("MAX(gross)", "MIN(gross)"), ("path: out,", "path: new,")];
    let upgrade = Upgrade::of(&fingerprint(FILE), &fingerprint(&edited(FILE, &edits)));
    assert_eq!(
        upgrade.refused().unwrap(),
        "the pipeline has changed since its last snapshot in a way that does not fit:\n  \
         - dedupe `once`: within `1m` → `2m`\n  \
         - aggregate `sums`: select.most `MAX(gross)` → `MIN(gross)`\n  \
         - the sink: files.path `out` → `new`: what has been written stays where it is (a file that is not complete, \
         under its temporary name), and the new output begins with the rows from here on\n  \
         help: take the change back, or go on with --accept-changes (a state that does not fit starts empty; see \
         `millstream plan`), or start anew with --fresh"
    );
    assert_eq!(upgrade.notes().len(), 3);
}

#[test]
fn a_fingerprint_comes_back_from_a_manifest() {
    let written = fingerprint(FILE);
    let text = serde_json::to_string(&written).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&text).unwrap(), written);
    assert!(text.contains(r#"{"name":"once","tables""#) && text.contains("total BIGINT"), "{text}");
}

const GRAPH: &str = "\
millstream: 1
name: spend
sources:
  one: { file: { path: in.ndjson }, format: json, schema: { user: STRING, amount: BIGINT } }
  two: { file: { path: other.ndjson }, format: json, schema: { user: STRING, amount: BIGINT } }
streams:
  dear: { from: [one, two], steps: [ { filter: amount > 100 } ] }
  sums: { from: dear, steps: [ { aggregate: { name: sums, by: user, select: { total: SUM(amount) } } } ] }
sinks:
  sums: { from: sums, file: { path: sums.ndjson, changelog: final }, format: json }
  dear: { from: dear, file: { path: dear.ndjson }, format: json }
";

#[test]
fn a_graph_goes_on_only_with_the_same_streams() {
    let refused = |edits: &[(&str, &str)]| {
        let upgrade = Upgrade::of(&fingerprint(GRAPH), &fingerprint(&edited(GRAPH, edits)));
        upgrade.is_refused_for_good().then(|| upgrade.refused().expect("why"))
    };
    assert_eq!(refused(&[]), None);
    assert_eq!(refused(&[("amount > 100", "amount > 99")]), None);
    for edits in [
        &[("from: [one, two]", "from: [two, one]")][..],
        &[("from: [one, two]", "from: one")],
        &[
            ("  dear: { from: [one", "  rich: { from: [one"),
            ("sums: { from: dear", "sums: { from: rich"),
            ("{ from: dear, file", "{ from: rich, file"),
        ],
        &[("{ filter: amount > 100 }", "{ dedupe: { name: once, by: user } }")],
    ] {
        assert!(refused(edits).is_some_and(|why| why.contains("the same streams")), "{edits:?}");
    }
    assert!(Upgrade::of(&fingerprint(FILE), &fingerprint(GRAPH)).is_refused_for_good());
}

#[test]
fn a_table_is_part_of_what_is_looked_up_in_it() {
    let file = edited(
        FILE,
        &[(
            "  - set: { gross: amount + fee }\n",
            "  - lookup: { table: users, match: users.id = user }\n  - set: { gross: amount + users.fee }\n",
        )],
    );
    let file = format!(
        "{file}tables:\n  users: {{ file: {{ path: users.csv }}, format: csv, schema: {{ id: STRING, fee: BIGINT }}, key: id }}\n"
    );
    assert!(outcome(&file, &[]).is_empty(), "{:?}", outcome(&file, &[]));
    let told = outcome(&file, &[("users.csv", "others.csv")]).join("\n");
    assert!(told.contains("users.csv") && told.contains("others.csv"), "{told}");
}
