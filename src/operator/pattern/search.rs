//! The search for matches among the rows of one key.
//!
//! A match begins at the earliest row from which there is one, and of the matches from there the preferred one is taken,
//! as a search that backtracks would find it. All ways from one row are followed at once, in the order of preference; a
//! way that accepts cuts off those behind it, and the match is decided when no way before it is left. Where matches may
//! not overlap, the next row is tried only then, over the rows that have been kept: so nothing is kept but rows, and what
//! a search has come to can always be found again from them.
//!
//! Ways that have come to one state with nothing between them that a condition could still tell apart have one future;
//! the preferred one stays. Where conditions read only the row itself, the same is true of searches: one that has come to
//! the states in which the search before it was at that row has its future, and is taken at once to where that one
//! ended. So a long run of rows from none of which there is a match is not walked once for each of them.

use std::collections::VecDeque;

use super::program::Program;

/// The most ways that are followed from one row.
pub(super) const WAYS_MAX: usize = 1024;

/// Where matching goes on behind a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skip {
    PastLastRow,
    ToNextRow,
    /// At the first row of a variable; where that is the match's first row, or there is none, at the next row.
    ToFirst(u8),
    /// At the last row of a variable, likewise.
    ToLast(u8),
}

/// What conditions read of the rows that a variable has taken: what tells two ways in one state apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// So many of its first rows.
    pub first: usize,
    /// So many of its last rows.
    pub last: usize,
    /// How many there are.
    pub count: bool,
    /// All of them.
    pub all: bool,
}

/// What is searched for.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub program: Program,
    /// A match takes less than this from its first to its last row, milliseconds; none for any time.
    pub within_ms: Option<i64>,
    pub skip: Skip,
    /// The variables whose conditions read earlier rows of the match, as bits; the others' are known with the row.
    pub later: u64,
    /// `[variable]`
    pub histories: Vec<History>,
}

impl Rules {
    /// Whether matches may overlap in all ways, so that the search from one row does not depend on the others'.
    pub fn overlaps(&self) -> bool {
        self.skip == Skip::ToNextRow
    }

    /// Whether ways keep their variables: only then can conditions read them.
    fn tracks(&self) -> bool {
        self.later != 0
    }

    /// Whether a search may come to the states of the one before it, and has its future then.
    fn converges(&self) -> bool {
        !self.tracks() && !self.overlaps()
    }

    /// Whether a match may begin with a row for which these conditions hold.
    pub fn can_begin(&self, holds: u64) -> bool {
        self.program.starters() & (holds | self.later) != 0
    }

    /// When a match that has begun at this time is over: at the last millisecond in which a row may belong to it.
    pub fn last_ms(&self, start_ms: i64) -> Option<i64> {
        self.within_ms.map(|within_ms| start_ms.saturating_add(within_ms - 1))
    }

    /// Whether no condition can tell two ways apart that have come to one state with these variables.
    fn same_future(&self, one: &[u8], other: &[u8]) -> bool {
        let same = |(variable, history): (u8, &History)| {
            if history.all {
                return one.iter().zip(other).all(|(a, b)| (*a == variable) == (*b == variable));
            }
            let positions = |way: &[u8]| (0..way.len()).filter(|at| way[*at] == variable).collect::<Vec<_>>();
            let (one, other) = (positions(one), positions(other));
            if history.count && one.len() != other.len() {
                return false;
            }
            let ends = |of: &[usize]| {
                (
                    of[..history.first.min(of.len())].to_vec(),
                    of[of.len().saturating_sub(history.last)..].to_vec(),
                )
            };
            ends(&one) == ends(&other)
        };
        (0..).zip(&self.histories).filter(|(_, history)| **history != History::default()).all(same)
    }
}

/// A row that is kept.
#[derive(Debug)]
pub(super) struct Row {
    pub at_ms: i64,
    /// The variables whose conditions hold, as bits, as far as they are known with the row.
    pub holds: u64,
    /// Whether a condition over it has failed, which has been told.
    pub rejected: bool,
    /// Its columns that are read later.
    pub bytes: Box<[u8]>,
    /// The states behind it, as [`States`], of the search that has come by last.
    pub states: States,
}

/// The states of all ways, the preferred one first, as far as four; 0 for more.
pub(super) type States = u64;

fn states_of(ways: &[Way]) -> States {
    if ways.len() > 4 {
        return 0;
    }
    ways.iter().fold(0, |states, way| states << 16 | u64::from(way.state))
}

/// A way of matching: the variables that the rows so far have been taken by.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub state: u16,
    /// Empty where no condition reads them.
    pub variables: Vec<u8>,
}

/// The search from one row.
#[derive(Debug)]
pub(super) struct Start {
    /// The number of the row.
    pub row: u64,
    /// The number of the row that is next to be looked at.
    pub next: u64,
    /// The preferred one first.
    pub ways: Vec<Way>,
    /// What is the match if no way comes to an end.
    found: Option<Found>,
}

#[derive(Debug)]
struct Found {
    /// How many rows.
    rows: u64,
    /// Their variables; empty where the ways have none.
    variables: Box<[u8]>,
}

/// A search that has ended without a match: where it was, and in which states.
#[derive(Debug)]
struct Ended {
    next: u64,
    ways: Vec<Way>,
}

/// A match.
#[derive(Debug)]
pub(super) struct Match {
    /// The number of its first row.
    pub row: u64,
    /// The variable of each of its rows.
    pub variables: Box<[u8]>,
    /// When it was decided, milliseconds of event time: with its last row, or later if others were preferred.
    pub at_ms: i64,
}

/// The rows of one key, and the searches among them.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// The number of the first row that is kept.
    first: u64,
    rows: VecDeque<Row>,
    /// By their rows, ascending; at most one where matches do not overlap.
    pub starts: Vec<Start>,
    /// The first row from which nothing has been tried.
    untried: u64,
    /// The latest time at which something was decided in this round of rows.
    decided_ms: i64,
    /// The search before this one, if it has found nothing.
    before: Option<Ended>,
    /// The bytes of the rows.
    row_bytes: usize,
}

impl Start {
    fn at(row: u64) -> Self {
        Self { row, next: row, ways: vec![Way::default()], found: None }
    }

    /// Takes one row: `holds` says of a way and a variable whether its condition does, and `tracks` whether ways keep
    /// their variables. False where there are too many ways to go on.
    fn step(&mut self, rules: &Rules, tracks: bool, holds: impl Fn(usize, u8) -> bool) -> bool {
        self.next += 1;
        let mut ways: Vec<Way> = Vec::with_capacity(self.ways.len());
        for (index, mut way) in std::mem::take(&mut self.ways).into_iter().enumerate() {
            let takes = &rules.program.after(way.state).takes;
            let mut passing =
                takes.iter().filter(|state| holds(index, rules.program.variable(**state))).peekable();
            while let Some(state) = passing.next() {
                let last = passing.peek().is_none();
                let mut variables =
                    if last { std::mem::take(&mut way.variables) } else { way.variables.clone() };
                if tracks {
                    variables.push(rules.program.variable(*state));
                }
                let known =
                    |other: &Way| other.state == *state && rules.same_future(&other.variables, &variables);
                if ways.iter().any(known) {
                    continue;
                }
                let after = rules.program.after(*state);
                if after.accepts {
                    let rows = self.next - self.row;
                    self.found = Some(Found { rows, variables: variables.as_slice().into() });
                }
                if !after.takes.is_empty() {
                    ways.push(Way { state: *state, variables });
                }
                if after.accepts {
                    self.ways = ways;
                    return true;
                }
                if ways.len() > WAYS_MAX {
                    return false;
                }
            }
        }
        self.ways = ways;
        true
    }
}

impl Search {
    /// Adds a row behind the others.
    pub fn push(&mut self, row: Row) {
        self.row_bytes += row.bytes.len();
        self.rows.push_back(row);
    }

    /// The rows that are kept, with their numbers.
    pub fn rows(&self) -> impl Iterator<Item = (u64, &Row)> {
        (self.first..).zip(&self.rows)
    }

    /// How many rows are kept.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// A row that is kept.
    pub fn row(&self, number: u64) -> &Row {
        &self.rows[self.index(number)]
    }

    /// The same to be changed.
    pub fn row_mut(&mut self, number: u64) -> &mut Row {
        let index = self.index(number);
        &mut self.rows[index]
    }

    fn index(&self, number: u64) -> usize {
        usize::try_from(number - self.first).expect("as many rows as memory holds")
    }

    fn end(&self) -> u64 {
        self.first + self.rows.len() as u64
    }

    /// Begins the searches that are due, and ends those whose time is over before their next row, until each of the
    /// rest waits for a condition or for a row; whether there is one that has a row to look at.
    pub fn prepare(&mut self, rules: &Rules, matches: &mut Vec<Match>) -> bool {
        loop {
            self.begin(rules);
            let over = self.starts.iter().position(|start| {
                start.next < self.end() && self.is_over(start, self.row(start.next).at_ms, rules)
            });
            let Some(over) = over else { break };
            self.expire(over, rules, matches);
        }
        self.starts.iter().any(|start| start.next < self.end())
    }

    /// Begins searches at the rows that have not been tried: at all, or at the next where matches do not overlap.
    fn begin(&mut self, rules: &Rules) {
        while self.untried < self.end() && (rules.overlaps() || self.starts.is_empty()) {
            if rules.can_begin(self.row(self.untried).holds) {
                self.starts.push(Start::at(self.untried));
            }
            self.untried += 1;
        }
    }

    fn is_over(&self, start: &Start, at_ms: i64, rules: &Rules) -> bool {
        rules.last_ms(self.row(start.row).at_ms).is_some_and(|last_ms| last_ms < at_ms)
    }

    /// Whether the search at this place has a row to look at.
    pub fn has_row(&self, place: usize) -> bool {
        self.starts[place].next < self.end()
    }

    /// The ways on which this variable may take the next row: the row of their search, their place in it, and the
    /// variables so far.
    pub fn questions(&self, variable: u8, rules: &Rules) -> impl Iterator<Item = (u64, usize, &[u8])> {
        let end = self.end();
        let starts = self.starts.iter().filter(move |start| start.next < end);
        starts.flat_map(move |start| {
            let ways = start.ways.iter().enumerate().filter(move |(_, way)| {
                let takes = &rules.program.after(way.state).takes;
                takes.iter().any(|state| rules.program.variable(*state) == variable)
            });
            ways.map(move |(place, way)| (start.row, place, way.variables.as_slice()))
        })
    }

    /// Looks at the next row of the search at this place, which has one: `holds` says of a way and a variable whether its
    /// condition does, where it reads earlier rows. Where none does, it goes on until it is decided or there are no more
    /// rows. Whether the search has been given up because there are too many ways.
    pub fn step(
        &mut self,
        place: usize,
        rules: &Rules,
        matches: &mut Vec<Match>,
        holds: impl Fn(usize, u8) -> bool,
    ) -> bool {
        let end = self.end();
        loop {
            let next = self.starts[place].next;
            let row = self.row(next);
            let (at_ms, known) = (row.at_ms, row.holds);
            let holds = |way: usize, variable: u8| {
                if rules.later >> variable & 1 == 1 {
                    holds(way, variable)
                } else {
                    known >> variable & 1 == 1
                }
            };
            if !self.starts[place].step(rules, rules.tracks(), holds) {
                self.starts[place].found = None;
                self.settle(place, at_ms, rules, matches);
                // The next one may not be told to end where this one was only given up.
                self.before = None;
                return true;
            }
            let at_ms = if rules.converges() { self.converge(place) } else { at_ms };
            if self.starts[place].ways.is_empty() {
                self.settle(place, at_ms, rules, matches);
                return false;
            }
            let start = &self.starts[place];
            let waits = rules.later != 0 || start.next >= end;
            if waits || self.is_over(start, self.row(start.next).at_ms, rules) {
                return false;
            }
        }
    }

    /// Notes the states behind the row that was looked at last; where the search before was in the same, goes to where
    /// that one ended. The time of the row that the search is then behind, milliseconds.
    fn converge(&mut self, place: usize) -> i64 {
        let last = self.starts[place].next - 1;
        let states = states_of(&self.starts[place].ways);
        let before = std::mem::replace(&mut self.row_mut(last).states, states);
        if let Some(ended) = self.before.take_if(|ended| states != 0 && states == before && last < ended.next)
        {
            let start = &mut self.starts[place];
            start.next = ended.next;
            start.ways = ended.ways;
        }
        self.row(self.starts[place].next - 1).at_ms
    }

    /// The variables of a match of so many rows.
    fn variables_of(&self, row: u64, rows: u64, rules: &Rules) -> Box<[u8]> {
        let mut start = Start::at(row);
        for number in row..row + rows {
            let known = self.row(number).holds;
            start.step(rules, true, |_, variable| known >> variable & 1 == 1);
        }
        start.found.map(|found| found.variables).unwrap_or_default()
    }

    /// Ends a search whose time is over: what has been found is the match.
    fn expire(&mut self, place: usize, rules: &Rules, matches: &mut Vec<Match>) {
        let start = &self.starts[place];
        let last_ms = rules.last_ms(self.row(start.row).at_ms).unwrap_or(i64::MIN);
        self.settle(place, last_ms, rules, matches);
    }

    /// Ends the searches whose time is over at this watermark, or all where no more rows will come; whether there was
    /// one. All rows have been looked at before.
    pub fn expire_due(
        &mut self,
        watermark_ms: i64,
        complete: bool,
        rules: &Rules,
        matches: &mut Vec<Match>,
    ) -> bool {
        let is_due = |search: &Self, start: &Start| {
            let last_ms = rules.last_ms(search.row(start.row).at_ms);
            complete || last_ms.is_some_and(|last_ms| last_ms <= watermark_ms)
        };
        let mut some = false;
        while let Some(place) = self.starts.iter().position(|start| is_due(self, start)) {
            self.expire(place, rules, matches);
            some = true;
        }
        some
    }

    /// Decides a search, and where the next one begins.
    fn settle(&mut self, place: usize, at_ms: i64, rules: &Rules, matches: &mut Vec<Match>) {
        let start = self.starts.remove(place);
        let variables = start.found.as_ref().map(|found| {
            if rules.tracks() {
                return found.variables.clone();
            }
            self.variables_of(start.row, found.rows, rules)
        });
        let mut at_ms = at_ms;
        if !rules.overlaps() {
            self.decided_ms = self.decided_ms.max(at_ms);
            at_ms = self.decided_ms;
            self.untried =
                start.row + variables.as_deref().map_or(1, |variables| behind(variables, rules.skip));
            self.before = variables.is_none().then_some(Ended { next: start.next, ways: start.ways });
        }
        if let Some(variables) = variables {
            let last_ms = self.row(start.row + variables.len() as u64 - 1).at_ms;
            matches.push(Match { row: start.row, variables, at_ms: at_ms.max(last_ms) });
        }
    }

    /// Forgets the rows that no search needs, and that decisions have been made; whether none is left.
    pub fn trim(&mut self) -> bool {
        let needed = self.starts.first().map_or(self.untried, |start| start.row).min(self.end());
        let gone = self.rows.drain(..self.index(needed));
        self.row_bytes -= gone.map(|row| row.bytes.len()).sum::<usize>();
        self.first = needed;
        self.decided_ms = i64::MIN;
        self.rows.is_empty()
    }

    /// When the first of the searches is over, milliseconds of event time; none where none ever is.
    pub fn next_over_ms(&self, rules: &Rules) -> Option<i64> {
        rules.last_ms(self.row(self.starts.first()?.row).at_ms)
    }

    /// Whether a search from this row is open.
    pub fn is_open(&self, row: u64) -> bool {
        self.starts.iter().any(|start| start.row == row)
    }

    /// Puts rows that were saved in, by their places, with whether a search from each is open.
    pub fn load(&mut self, rows: Vec<(Row, bool)>) {
        self.starts =
            (0..).zip(&rows).filter(|(_, (_, open))| *open).map(|(row, _)| Start::at(row)).collect();
        for (row, _) in rows {
            self.push(row);
        }
        self.untried = self.end();
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        let ways = self.starts.iter().flat_map(|start| &start.ways).map(|way| way.variables.capacity());
        self.row_bytes
            + self.rows.capacity() * size_of::<Row>()
            + ways.map(|capacity| capacity + size_of::<Way>()).sum::<usize>()
            + self.starts.capacity() * size_of::<Start>()
    }
}

/// How many rows behind a match's first one matching goes on.
fn behind(variables: &[u8], skip: Skip) -> u64 {
    let rows = match skip {
        Skip::PastLastRow => Some(variables.len()),
        Skip::ToNextRow => None,
        Skip::ToFirst(variable) => variables.iter().position(|taken| *taken == variable),
        Skip::ToLast(variable) => variables.iter().rposition(|taken| *taken == variable),
    };
    rows.unwrap_or(1).max(1) as u64
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::sequence::Sequence;
    use super::*;

    fn rules(text: &str, within_ms: Option<i64>) -> Rules {
        let sequence = Sequence::parse(text).unwrap();
        let histories = vec![History::default(); sequence.variables.len()];
        let program = Program::of(&sequence).unwrap();
        Rules { program, within_ms, skip: Skip::PastLastRow, later: 0, histories }
    }

    fn row(at_ms: i64, holds: u64) -> Row {
        Row { at_ms, holds, rejected: false, bytes: Box::default(), states: 0 }
    }

    /// Takes a row in as the operator does; the matches that it decides.
    fn take(search: &mut Search, rules: &Rules, row: Row) -> Vec<Match> {
        let mut matches = Vec::new();
        search.push(row);
        while search.prepare(rules, &mut matches) {
            assert!(!search.step(0, rules, &mut matches, |_, _| false));
        }
        search.trim();
        matches
    }

    /// From each of many rows a match may begin that comes to nothing: walked over from each of them, it would take
    /// minutes.
    #[test]
    fn a_long_run_of_rows_is_not_walked_once_for_each_of_them() {
        let began = Instant::now();
        let rules = rules("F{5,} S", Some(40_000));
        let mut search = Search::default();
        for at_ms in 0..80_000 {
            assert!(take(&mut search, &rules, row(at_ms, 1)).is_empty());
            assert!(search.len() <= 40_000);
        }
        let matches = take(&mut search, &rules, row(80_000, 2));
        assert_eq!(matches.len(), 1);
        assert_eq!((matches[0].at_ms, matches[0].variables.len()), (80_000, 40_000));
        assert_eq!(search.len(), 0);
        for at_ms in 80_001..160_000 {
            let is_end = at_ms % 30_000 == 0;
            let matches = take(&mut search, &rules, row(at_ms, u64::from(!is_end)));
            assert!(matches.is_empty());
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[test]
    fn ways_that_no_condition_tells_apart_are_one() {
        let histories = vec![
            History { last: 2, ..History::default() },
            History { first: 1, ..History::default() },
            History { count: true, ..History::default() },
            History { all: true, ..History::default() },
            History::default(),
        ];
        let rules = Rules { histories, later: 1, ..rules("A B C D E", None) };
        let check = |one: &[u8], other: &[u8], same: bool| {
            assert_eq!(rules.same_future(one, other), same, "{one:?}, {other:?}");
        };
        check(&[0, 4, 0, 0], &[4, 4, 0, 0], true);
        check(&[0, 4, 0, 4], &[0, 4, 4, 0], false);
        check(&[1, 1, 4], &[1, 4, 1], true);
        check(&[4, 1], &[1, 1], false);
        check(&[2, 4, 2], &[4, 2, 2], true);
        check(&[2, 4], &[4, 4], false);
        check(&[3, 4, 4], &[3, 4, 4], true);
        check(&[3, 4], &[4, 3], false);
        check(&[4, 4], &[4, 4], true);
    }
}
