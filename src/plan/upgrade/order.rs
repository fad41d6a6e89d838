//! What has changed between the steps that keep no state, and in the order of all.

use super::difference::{differences, on_one_line, shown, text};
use crate::snapshot::{Fingerprint, StepText};

/// What the user should know of steps that have come, gone or moved.
pub(super) fn notes(old: &Fingerprint, new: &Fingerprint) -> Vec<String> {
    let (before, now): (Vec<&StepText>, Vec<&StepText>) = (on_page(old), on_page(new));
    let pairs = common(&before, &now);
    let mut gone: Vec<usize> =
        (0..before.len()).filter(|at| pairs.iter().all(|(was, _)| was != at)).collect();
    let mut come: Vec<usize> = (0..now.len()).filter(|at| pairs.iter().all(|(_, is)| is != at)).collect();
    let mut notes = Vec::new();
    come.retain(|is| {
        let moved = gone.iter().position(|was| is_same(before[*was], now[*is]));
        if let Some(moved) = moved {
            gone.remove(moved);
            notes.push(format!("{} stands {} now", described(now[*is]), place(&now, *is)));
        }
        moved.is_none()
    });
    // A step and another of its verb in its place are one that has been edited.
    come.retain(|is| {
        let gap = pairs.iter().filter(|(_, at)| at < is).count();
        let edited = gone.iter().position(|was| {
            let same_gap = pairs.iter().filter(|(at, _)| at < was).count() == gap;
            same_gap && before[*was].verb == now[*is].verb && !keeps(before[*was]) && !keeps(now[*is])
        });
        if let Some(edited) = edited {
            let was = before[gone.remove(edited)];
            let different = text(&differences(&was.options, &now[*is].options));
            notes.push(format!("{}: {different}: so for the rows from here on", was.verb));
        }
        edited.is_none()
    });
    // Of those that keep state is told with their state.
    let stateless = |steps: &[&StepText], at: &usize| !keeps(steps[*at]);
    for was in gone.iter().filter(|at| stateless(&before, at)) {
        notes.push(format!("{} is gone: rows from here on pass without it", described(before[*was])));
    }
    for is in come.iter().filter(|at| stateless(&now, at)) {
        let place = place(&now, *is);
        notes.push(format!("{} is new, {place}: rows from here on go through it", described(now[*is])));
    }
    notes
}

/// The steps of the file, without what stands before the sink.
fn on_page(fingerprint: &Fingerprint) -> Vec<&StepText> {
    fingerprint.steps.iter().filter(|step| step.verb != crate::plan::fingerprint::MAIN).collect()
}

fn keeps(step: &StepText) -> bool {
    !step.states.is_empty()
}

/// Whether both are one step: that of the same state, or one without state that says the same.
fn is_same(was: &StepText, is: &StepText) -> bool {
    match (was.states.first(), is.states.first()) {
        (Some(was), Some(is)) => was.name == is.name,
        (None, None) => (&was.verb, &was.options) == (&is.verb, &is.options),
        _ => false,
    }
}

fn described(step: &StepText) -> String {
    match step.states.first() {
        Some(state) => super::states::described(step, &state.name),
        None => shown(&format!("`{}: {}`", step.verb, on_one_line(&step.options))),
    }
}

/// Where a step stands: behind the last that keeps state, before the next.
fn place(steps: &[&StepText], at: usize) -> String {
    if let Some(before) = steps[..at].iter().rfind(|step| keeps(step)) {
        format!("behind {}", described(before))
    } else if let Some(behind) = steps[at + 1..].iter().find(|step| keeps(step)) {
        format!("before {}", described(behind))
    } else {
        format!("at place {}", at + 1)
    }
}

/// The positions of the steps that both have in the same order: a longest common subsequence, found by the classic table
/// of lengths.
fn common(before: &[&StepText], now: &[&StepText]) -> Vec<(usize, usize)> {
    let mut lengths = vec![vec![0_u32; now.len() + 1]; before.len() + 1];
    for was in (0..before.len()).rev() {
        for is in (0..now.len()).rev() {
            lengths[was][is] = if is_same(before[was], now[is]) {
                lengths[was + 1][is + 1] + 1
            } else {
                lengths[was + 1][is].max(lengths[was][is + 1])
            };
        }
    }
    let (mut was, mut is, mut pairs) = (0, 0, Vec::new());
    while was < before.len() && is < now.len() {
        if is_same(before[was], now[is]) {
            pairs.push((was, is));
            (was, is) = (was + 1, is + 1);
        } else if lengths[was + 1][is] >= lengths[was][is + 1] {
            was += 1;
        } else {
            is += 1;
        }
    }
    pairs
}
