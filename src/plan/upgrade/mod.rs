//! What a run keeps of a snapshot that was taken of another version of the pipeline's file.
//!
//! A state belongs to the name of its step. It is kept where the step says what it said, or where what is saved is what
//! it would have kept anyway; else it would mean something else, and nobody would see it in the rows. So such a change
//! is refused until the user accepts it, and then the state starts empty. Steps without state may come and go: rows from
//! here on go through the steps that are there.

mod difference;
mod order;
mod outputs;
mod states;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use difference::differences;

use super::fingerprint;

use crate::snapshot::Fingerprint;

/// What becomes of a state or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on as it is.
    Kept,
    /// It goes on: a state with less than was saved, an output in another way.
    Migrated,
    /// It has changed its meaning. Where that is accepted a state starts empty, and an output goes on in another form.
    Changed,
    /// An output has another place. Where that is accepted the new one begins with the rows from here on.
    Replaced,
    /// It is there no more, or cannot be told apart from another. Where that is accepted it is lost.
    Dropped,
    /// It was not there.
    New,
}

impl Fate {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Migrated => "migrated",
            Self::Changed => "changed",
            Self::Replaced => "replaced",
            Self::Dropped => "dropped",
            Self::New => "new",
        }
    }

    /// Whether it goes on only where the user accepts what is lost.
    #[must_use]
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Changed | Self::Replaced | Self::Dropped)
    }
}

/// What becomes of one state or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the state or the output.
    pub name: String,
    /// What it belongs to, for a person.
    pub subject: String,
    /// What becomes of it.
    pub fate: Fate,
    /// What has changed, and what that means; empty where nothing has.
    pub what: String,
}

/// What a pipeline keeps of a snapshot.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Why nothing of it can be used, if so.
    source: Option<String>,
    states: Vec<Change>,
    outputs: Vec<Change>,
    /// What else has changed.
    notes: Vec<String>,
}

/// Why a snapshot of one graph is none of another: watermarks and positions are told apart by where they are in it.
fn rewired(old: &Fingerprint, new: &Fingerprint) -> Option<String> {
    let shape = |of: &Fingerprint| {
        let steps = of.steps.iter().map(|step| match step.verb.as_str() {
            fingerprint::STREAM => vec![format!("{} from {}", step.options["name"], step.options["from"])],
            _ => step.states.iter().map(|state| state.name.clone()).collect(),
        });
        steps.flatten().collect::<Vec<String>>()
    };
    let is_graph = |of: &Fingerprint| of.steps.iter().any(|step| step.verb == fingerprint::STREAM);
    let changed = (is_graph(old) || is_graph(new)) && shape(old) != shape(new);
    changed.then(|| {
        "the streams: of a graph only a run with the same streams, which take the same and keep the same in the same order, goes on with a snapshot".to_owned()
    })
}

impl Upgrade {
    /// What a pipeline that is `new` keeps of a snapshot of one that was `old`.
    #[must_use]
    pub fn of(old: &Fingerprint, new: &Fingerprint) -> Self {
        let (was, is) = (&old.source.kind, &new.source.kind);
        let source = (was != is)
            .then(|| format!("the source: `{was}` → `{is}`: a position in the one is none in the other"))
            .or_else(|| rewired(old, new));
        let mut notes = if source.is_some() { Vec::new() } else { source_notes(old, new) };
        notes.extend(order::notes(old, new));
        Self { source, states: states::changes(old, new), outputs: outputs::changes(old, new), notes }
    }

    /// Why a run cannot go on as it is: every change that loses something, and the ways out. None where it can.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        let mut reasons: Vec<String> = self.source.iter().cloned().collect();
        let changes = self.states.iter().chain(&self.outputs);
        reasons.extend(changes.filter(|change| change.fate.is_refused()).map(Change::told));
        if reasons.is_empty() {
            return None;
        }
        let accept = if self.is_refused_for_good() {
            ""
        } else {
            ", or go on with --accept-changes (a state that does not fit starts empty; see `millstream plan`)"
        };
        let reasons: String = reasons.iter().map(|reason| format!("  - {reason}\n")).collect();
        Some(format!(
            "the pipeline has changed since its last snapshot in a way that does not fit:\n{reasons}  help: take the change back{accept}, or start anew with --fresh"
        ))
    }

    /// Whether a run cannot go on whatever the user accepts.
    #[must_use]
    pub fn is_refused_for_good(&self) -> bool {
        self.source.is_some()
    }

    /// What the user should know when a run goes on: whatever is not as it was.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let changes = self.states.iter().chain(&self.outputs);
        let changes = changes.filter(|change| change.fate != Fate::Kept);
        let told = changes.map(|change| {
            let word = change.fate.word();
            format!("{word}: {}", change.told())
        });
        told.chain(self.notes.iter().cloned()).collect()
    }

    /// What has changed besides states and outputs.
    #[must_use]
    pub fn other_notes(&self) -> &[String] {
        &self.notes
    }

    /// What becomes of each state: those there are in the order of the page, then those that are there no more.
    #[must_use]
    pub fn states(&self) -> &[Change] {
        &self.states
    }

    /// What becomes of each output: those there are, then those that are there no more.
    #[must_use]
    pub fn outputs(&self) -> &[Change] {
        &self.outputs
    }

    /// The names of the states that are restored.
    #[must_use]
    pub fn kept(&self) -> BTreeSet<String> {
        let goes_on = |change: &&Change| matches!(change.fate, Fate::Kept | Fate::Migrated);
        self.states.iter().filter(goes_on).map(|change| change.name.clone()).collect()
    }

    /// The names of the outputs that go on from their positions.
    #[must_use]
    pub fn outputs_kept(&self) -> BTreeSet<String> {
        let goes_on = |change: &&Change| matches!(change.fate, Fate::Kept | Fate::Migrated | Fate::Changed);
        self.outputs.iter().filter(goes_on).map(|change| change.name.clone()).collect()
    }
}

impl Change {
    /// It as a sentence.
    fn told(&self) -> String {
        format!("{}: {}", self.subject, self.what)
    }
}

/// What the user should know of a source that says something else.
fn source_notes(old: &Fingerprint, new: &Fingerprint) -> Vec<String> {
    let path = format!("{}.path", new.source.kind);
    let differences = differences(&old.source.options, &new.source.options);
    let note = |difference: &difference::Difference| {
        let meaning = match difference.option() {
            _ if difference.path == path => {
                "this run goes on with the input of the snapshot; what has another name is read by a fresh one"
            }
            "event_time" => "so from here on; the watermark goes on from where it was",
            _ => "so from here on",
        };
        format!("the source: {difference}: {meaning}")
    };
    differences.iter().map(note).collect()
}
