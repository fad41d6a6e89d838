//! What becomes of the state of each step.

use super::difference::{differences, entries, text};
use super::{Change, Fate};
use crate::snapshot::{Fingerprint, StateText, StepText};

/// A state, with the step that keeps it.
struct Kept<'a> {
    name: &'a str,
    step: &'a StepText,
    /// What its operators keep, in the order of the data.
    parts: Vec<&'a StateText>,
    /// Whether no other step keeps a state of this name.
    is_alone: bool,
}

impl Kept<'_> {
    fn is_named(&self) -> bool {
        self.step.name.is_some()
    }

    /// The step as messages call it.
    fn describe(&self) -> String {
        described(self.step, self.name)
    }
}

/// A step that keeps state as messages call it.
pub(super) fn described(step: &StepText, state: &str) -> String {
    if step.verb == crate::plan::fingerprint::MAIN {
        "the state of the sink".to_owned()
    } else if step.name.is_some() {
        format!("{} `{state}`", step.verb)
    } else {
        format!("{} without a name", step.verb)
    }
}

/// The states in the order of the data, one for each name.
fn states(fingerprint: &Fingerprint) -> Vec<Kept<'_>> {
    let mut states: Vec<Kept<'_>> = Vec::new();
    for step in &fingerprint.steps {
        for state in &step.states {
            match states.iter_mut().find(|known| known.name == state.name) {
                Some(known) => {
                    known.is_alone &= std::ptr::eq(known.step, step);
                    known.parts.push(state);
                }
                None => states.push(Kept { name: &state.name, step, parts: vec![state], is_alone: true }),
            }
        }
    }
    states
}

/// What becomes of each state: those that are there in the order of the page, then those that are there no more.
pub(super) fn changes(old: &Fingerprint, new: &Fingerprint) -> Vec<Change> {
    let (before, now) = (states(old), states(new));
    let find = |name: &str| before.iter().find(|state| state.name == name);
    let fresh: Vec<&Kept<'_>> = now.iter().filter(|state| find(state.name).is_none()).collect();
    let mut changes: Vec<Change> = Vec::new();
    for state in &now {
        let (fate, what) = match find(state.name) {
            None => (Fate::New, "it starts empty".to_owned()),
            Some(_) if old == new => (Fate::Kept, String::new()),
            Some(was) if !was.is_alone || !state.is_alone || !state.is_named() => {
                (Fate::Dropped, without_name(was))
            }
            Some(was) => compare(was, state),
        };
        changes.push(Change { name: state.name.to_owned(), subject: state.describe(), fate, what });
    }
    let gone = before.iter().filter(|state| now.iter().all(|other| other.name != state.name));
    changes.extend(gone.map(|state| {
        let renamed = fresh.iter().find(|other| is_same(state, other));
        let what = match renamed {
            Some(other) => format!(
                "it is gone, and what it keeps would be lost; {} does the same: if it is this step under a new name, call it `{}` again, for the name is the identity of its state",
                other.describe(),
                state.name
            ),
            None => "it is gone, and what it keeps would be lost".to_owned(),
        };
        Change { name: state.name.to_owned(), subject: state.describe(), fate: Fate::Dropped, what }
    }));
    changes
}

fn without_name(was: &Kept<'_>) -> String {
    let help = if was.is_alone && !was.is_named() {
        format!(
            "to keep it, give the step the name under which it is kept, `name: {}`, before anything else is changed in it",
            was.name
        )
    } else {
        "give each step that keeps state a name before the file is changed".to_owned()
    };
    format!("the file has changed, and state without a name is never matched by its position; {help}")
}

fn is_same(was: &Kept<'_>, is: &Kept<'_>) -> bool {
    let tables = |state: &Kept<'_>| state.parts.iter().map(|part| part.tables.clone()).collect::<Vec<_>>();
    (&was.step.verb, &was.step.options) == (&is.step.verb, &is.step.options) && tables(was) == tables(is)
}

/// What becomes of a state whose step is still there.
fn compare(was: &Kept<'_>, is: &Kept<'_>) -> (Fate, String) {
    let (old, new) = (was.step, is.step);
    if old.verb != new.verb {
        return (Fate::Changed, format!("`{}` → `{}`", old.verb, new.verb));
    }
    if old.only_final != new.only_final {
        let when = |only_final| {
            if only_final { "only when the input is complete" } else { "as they change" }
        };
        let (before, now) = (when(old.only_final), when(new.only_final));
        return (Fate::Changed, format!("sent its rows {before}, now {now}, because of the sink"));
    }
    let different = differences(&old.options, &new.options);
    if different.is_empty() {
        return match tables_changed(was, is) {
            None => (Fate::Kept, String::new()),
            Some(what) => (Fate::Changed, format!("{what}, because of what is before or behind it")),
        };
    }
    if loses_results(was, is) {
        (Fate::Migrated, text(&different))
    } else {
        (Fate::Changed, text(&different))
    }
}

/// What differs between the tables of a state, if anything does.
fn tables_changed(was: &Kept<'_>, is: &Kept<'_>) -> Option<String> {
    if was.parts.len() != is.parts.len() {
        return Some("it keeps other tables".to_owned());
    }
    let pairs = was.parts.iter().zip(&is.parts).flat_map(|(was, is)| {
        let names: std::collections::BTreeSet<&String> = was.tables.keys().chain(is.tables.keys()).collect();
        names.into_iter().map(|name| (name, was.tables.get(name), is.tables.get(name)))
    });
    let (name, before, now) = { pairs }.find(|(_, before, now)| before != now)?;
    let columns = |columns: Option<&Vec<String>>| {
        columns.map_or_else(|| "nothing".to_owned(), |columns| columns.join(", "))
    };
    Some(format!("its table `{name}` has the columns {}, and would have {}", columns(before), columns(now)))
}

/// Whether the step is an `aggregate` that has lost results, or has them in another order, and is the same in all else.
/// Then what is saved of the others is what it would have kept of them.
fn loses_results(was: &Kept<'_>, is: &Kept<'_>) -> bool {
    let (old, new) = (&was.step.options, &is.step.options);
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let others_same = |key: &String| key == "select" || old.get(key) == new.get(key);
    if was.step.verb != "aggregate" || !old.keys().chain(new.keys()).all(others_same) {
        return false;
    }
    let selected = |options: &serde_json::Map<String, serde_json::Value>| {
        let entries = options.get("select").and_then(entries)?;
        Some(entries.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect::<Vec<_>>())
    };
    let (Some(before), Some(now)) = (selected(old), selected(new)) else { return false };
    now.iter().all(|entry| before.contains(entry))
        && was.parts.len() == is.parts.len()
        && was.parts.iter().zip(&is.parts).all(|(was, is)| holds(was, is))
}

/// Whether saved tables hold all columns that are wanted, under names that mean the same: that of a result that has a
/// name, not that of one with only a number (`$0`), nor one that had to be told apart from another (`total'`).
fn holds(was: &StateText, is: &StateText) -> bool {
    let numbered = |column: &String| column.starts_with('$');
    let told_apart = |column: &String| column.contains('\'');
    was.tables.keys().eq(is.tables.keys())
        && was.tables.iter().zip(is.tables.values()).all(|((_, was), is)| {
            !was.iter().chain(is).any(told_apart)
                && is.iter().all(|column| !numbered(column) && was.contains(column))
        })
}
