//! What becomes of each output.

use super::difference::{Difference, differences, text};
use super::{Change, Fate};
use crate::plan::fingerprint::MAIN;
use crate::snapshot::{ComponentText, Fingerprint};

/// Options of a sink that say how rows are written from now on, and leave what has been written as it is.
const HOW: [&str; 4] = ["roll", "prefix", "partition_by", "latency_from"];
/// Options that say what is written of a row.
const FORM: [&str; 2] = ["changelog", "upsert_by"];

/// What becomes of each output: those that are there, then those that are there no more.
pub(super) fn changes(old: &Fingerprint, new: &Fingerprint) -> Vec<Change> {
    let change = |name: &String, fate, what: String| {
        let subject = if name == MAIN { "the sink".to_owned() } else { format!("the sink of `{name}`") };
        Change { name: name.clone(), subject, fate, what }
    };
    let mut changes: Vec<Change> = Vec::new();
    for (name, sink) in &new.sinks {
        let (fate, what) = match old.sinks.get(name) {
            None => (Fate::New, "it begins with the rows from here on".to_owned()),
            Some(was) => compare(was, sink),
        };
        changes.push(change(name, fate, what));
    }
    for name in old.sinks.keys().filter(|name| !new.sinks.contains_key(*name)) {
        let what = "it is gone: what has been written stays as the snapshot left it, and its rows are dropped from here on";
        changes.push(change(name, Fate::Dropped, what.to_owned()));
    }
    changes
}

fn compare(was: &ComponentText, is: &ComponentText) -> (Fate, String) {
    if was.kind != is.kind {
        let (before, now) = (&was.kind, &is.kind);
        return (Fate::Replaced, format!("`{before}` → `{now}`: {BEGINS_ANEW}"));
    }
    let different = differences(&was.options, &is.options);
    // The options of a sink stand under its kind, its name and its format beside it.
    let is_own = |difference: &Difference| difference.option() == is.kind;
    let option = |difference: &Difference| difference.path.split('.').nth(1).map(str::to_owned);
    let is_one_of = |difference: &Difference, options: &[&str]| {
        is_own(difference) && option(difference).is_some_and(|option| options.contains(&option.as_str()))
    };
    let told = text(&different);
    if different.is_empty() {
        (Fate::Kept, String::new())
    } else if different.iter().all(|difference| is_one_of(difference, &HOW)) {
        (Fate::Migrated, format!("{told}: so from here on"))
    } else if different
        .iter()
        .all(|difference| !is_own(difference) || is_one_of(difference, &HOW) || is_one_of(difference, &FORM))
    {
        (Fate::Changed, format!("{told}: what has been written stays, and what follows it has another form"))
    } else {
        (Fate::Replaced, format!("{told}: {BEGINS_ANEW}"))
    }
}

/// What an output in another place means.
const BEGINS_ANEW: &str = "what has been written stays where it is (a file that is not complete, under its temporary name), and the new output begins with the rows from here on";
