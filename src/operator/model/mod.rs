//! `aggregate` against a model: random steps over random rows, whose output has to be what a few lines that keep every
//! row make of them ([`reference`]).
//!
//! The model knows nothing of the operator, only the meanings of the language: it goes by single rows, the watermark
//! each of them meets, and the block ends that are due. A case that fails is shrunk and printed with its seed; a case
//! that has found a bug stays in [`found`]. A new kind of window is a [`Kind`], its random
//! form in [`step`] and its meaning in [`reference`].

mod case;
mod compare;
mod examples;
mod found;
mod reference;
mod step;

use case::Case;
use compare::{Machine, compare};
use step::{Kind, Step};

/// How many cases run on one step: to resolve a step costs more than to run it over a few rows.
const CASES_PER_STEP: u64 = 25;

/// Runs the cases of these seeds.
fn check(kind: Kind, seeds: impl IntoIterator<Item = u64>) {
    let (mut cases, mut rows, mut late) = (0, 0, 0);
    let mut resolved: Option<(u64, Machine)> = None;
    for seed in seeds {
        let number = seed / CASES_PER_STEP;
        let machine = match resolved.take() {
            Some((same, machine)) if same == number => machine,
            _ => Machine::new(Step::random(kind, number)),
        };
        let case = Case::random(&machine.step, seed);
        match compare(&machine, &case) {
            Ok(seen) => {
                rows += seen.rows;
                late += seen.late;
            }
            Err(_) => fail(&machine, seed, &case),
        }
        cases += 1;
        resolved = Some((number, machine));
    }
    // Cases in which nothing happens would show nothing.
    assert!(rows > cases, "{rows} rows in {cases} cases");
    assert_eq!(late > cases / 4, kind.is_timed(), "{late} late rows in {cases} cases");
}

/// Panics with the least that is still wrong.
fn fail(machine: &Machine, seed: u64, case: &Case) -> ! {
    let least = case.shrink(|smaller| compare(machine, smaller).is_err());
    let difference = compare(machine, &least).err().expect("it still fails");
    panic!("{:?}, seed {seed}\n{}\n{least}{difference}", machine.step.kind, machine.step);
}

#[test]
fn tumbling_windows() {
    check(Kind::Tumbling, 0..12_000);
}

#[test]
fn sliding_windows() {
    check(Kind::Sliding, 0..18_000);
}

#[test]
fn cumulative_windows() {
    check(Kind::Cumulative, 0..12_000);
}

#[test]
fn sessions() {
    check(Kind::Session, 0..18_000);
}

#[test]
fn windows_of_rows() {
    check(Kind::Rows, 0..8_000);
}

#[test]
fn running_aggregates() {
    check(Kind::Running, 0..12_000);
}

#[test]
fn running_aggregates_over_rows_that_are_taken_back() {
    check(Kind::Retracting, 0..12_000);
}

#[test]
fn running_aggregates_that_expire() {
    check(Kind::Expiring, 0..8_000);
}
