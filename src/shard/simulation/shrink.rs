//! Makes a failing case smaller, one change after the other, as long as it still fails.

use super::case::{Case, Life};
use super::input::Input;

/// How many cases are tried at most.
const TRIES_MAX: usize = 400;

/// The smallest case found that still fails, where `fails` says so of a case.
pub fn shrink(case: Case, mut fails: impl FnMut(&Case) -> bool) -> Case {
    let mut smallest = case;
    let mut tries = 0;
    loop {
        let mut found = None;
        for candidate in simpler(&smallest) {
            tries += 1;
            if fails(&candidate) {
                found = Some(candidate);
                break;
            }
            if tries >= TRIES_MAX {
                return smallest;
            }
        }
        match found {
            Some(candidate) => smallest = candidate,
            None => return smallest,
        }
    }
}

/// Cases that are a little simpler, those that gain most first.
fn simpler(case: &Case) -> Vec<Case> {
    let mut cases = Vec::new();
    for number in 0..case.lives.len().saturating_sub(1) {
        let mut fewer = case.clone();
        fewer.lives.remove(number);
        cases.push(fewer);
    }
    for input in smaller(case.input) {
        cases.push(Case { input, ..case.clone() });
    }
    for number in 0..case.lives.len() {
        for life in simpler_lives(&case.lives[number]) {
            let mut simpler = case.clone();
            simpler.lives[number] = life;
            cases.push(simpler);
        }
    }
    if case.power_cut_at_end {
        cases.push(Case { power_cut_at_end: false, ..case.clone() });
    }
    cases.retain(|simpler| simpler != case);
    cases
}

fn smaller(input: Input) -> Vec<Input> {
    vec![
        Input { rows: input.rows / 2, ..input },
        Input { files: 1, ..input },
        Input { rows: (input.rows * 3 / 4).max(1), ..input },
    ]
}

fn simpler_lives(life: &Life) -> Vec<Life> {
    let mut lives = vec![
        Life { faults: Vec::new(), ..life.clone() },
        Life { full: None, ..life.clone() },
        Life { drain: None, ..life.clone() },
        Life { abort: None, ..life.clone() },
        Life { requests: Vec::new(), ..life.clone() },
        Life { slow_polls: None, ..life.clone() },
        Life { snapshot_every_us: None, ..life.clone() },
        Life { weights: vec![1], ..life.clone() },
        Life { wakes_for_nothing: false, ..life.clone() },
        Life { power_cut: false, ..life.clone() },
        Life { shards: 1, ..life.clone() },
        Life { shards: (life.shards - 1).max(1), ..life.clone() },
        Life { lanes: 4, ..life.clone() },
    ];
    for fault in 0..life.faults.len() {
        let mut fewer = life.clone();
        fewer.faults.remove(fault);
        lives.push(fewer);
    }
    lives
}
