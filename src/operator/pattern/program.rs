//! A sequence as an automaton: from which variable's row a match may go on to which.
//!
//! The automaton is Thompson's ("Regular Expression Search Algorithm", CACM 1968) with the ways out of each state in the
//! order of preference, as Pike's virtual machine has them: what a backtracking search would try first comes first. The
//! steps that take no row are followed here, once, so that at run time a state knows the next rows it may take.

use std::collections::BTreeSet;

use super::sequence::{Pattern, Sequence};

/// The most states and steps between them.
const SIZE_MAX: usize = 4096;

/// The most ways out of all states together.
const TAKES_MAX: usize = 65_536;

/// The automaton. State 0 is before the first row; any other is behind a row that its variable has taken.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// `[state]`; the first one means nothing.
    variables: Vec<u8>,
    /// `[state]`
    after: Vec<After>,
}

/// What may follow behind a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct After {
    /// The states that take the next row, the preferred one first.
    pub takes: Box<[u16]>,
    /// Whether the rows so far are a match, which is preferred less than anything in `takes`.
    pub accepts: bool,
}

#[derive(Clone, Copy)]
enum Instruction {
    /// Takes a row for the state of this number and goes on.
    Take {
        state: u16,
        next: usize,
    },
    /// Goes on at the first, or else at the second.
    Split(usize, usize),
    /// As a split; the way at `body` begins a turn of a repetition, which has to take a row.
    Turn {
        body: usize,
        next: usize,
        greedy: bool,
    },
    /// Ends the turn that began at an instruction.
    EndOfTurn {
        turn: usize,
        next: usize,
    },
    Accept,
}

impl Program {
    /// The automaton of a sequence; none where it would be too large.
    pub fn of(sequence: &Sequence) -> Option<Self> {
        let mut compiler = Compiler { code: vec![Instruction::Accept], variables: vec![0] };
        let entry = compiler.emit(&sequence.pattern, 0)?;
        let mut entries = vec![entry];
        let taken = compiler.code.iter().filter_map(|instruction| match instruction {
            Instruction::Take { next, state } => Some((*state, *next)),
            _ => None,
        });
        let mut taken: Vec<(u16, usize)> = taken.collect();
        taken.sort_unstable();
        entries.extend(taken.into_iter().map(|(_, next)| next));
        let (mut after, mut takes) = (Vec::with_capacity(entries.len()), 0);
        for entry in entries {
            let found = compiler.follow(entry);
            takes += found.takes.len();
            if takes > TAKES_MAX {
                return None;
            }
            after.push(found);
        }
        Some(Self { variables: compiler.variables, after })
    }

    /// What may follow behind a state.
    pub fn after(&self, state: u16) -> &After {
        &self.after[usize::from(state)]
    }

    /// The variable whose row a state is behind.
    pub fn variable(&self, state: u16) -> u8 {
        self.variables[usize::from(state)]
    }

    /// The variables that may take a match's first row, as bits.
    pub fn starters(&self) -> u64 {
        self.after[0].takes.iter().fold(0, |bits, state| bits | 1 << self.variable(*state))
    }
}

struct Compiler {
    /// The first one accepts.
    code: Vec<Instruction>,
    variables: Vec<u8>,
}

impl Compiler {
    fn push(&mut self, instruction: Instruction) -> Option<usize> {
        if self.code.len() >= SIZE_MAX {
            return None;
        }
        self.code.push(instruction);
        Some(self.code.len() - 1)
    }

    /// Emits a part that goes on at `next`; where it begins.
    fn emit(&mut self, pattern: &Pattern, next: usize) -> Option<usize> {
        match pattern {
            Pattern::Variable(variable) => {
                let state = u16::try_from(self.variables.len()).ok()?;
                let at = self.push(Instruction::Take { state, next })?;
                self.variables.push(*variable);
                Some(at)
            }
            Pattern::Concatenation(parts) => {
                parts.iter().rev().try_fold(next, |next, part| self.emit(part, next))
            }
            Pattern::Alternation(parts) => {
                let (last, before) = parts.split_last()?;
                let last = self.emit(last, next)?;
                before.iter().rev().try_fold(last, |second, part| {
                    let first = self.emit(part, next)?;
                    self.push(Instruction::Split(first, second))
                })
            }
            Pattern::Repetition { of, least, most, greedy } => {
                let (mut entry, mut before) = (next, *least);
                match most {
                    Some(most) => {
                        for _ in *least..*most {
                            entry = self.turn(of, Some(entry), next, *greedy)?.0;
                        }
                    }
                    None => {
                        let (turn, body) = self.turn(of, None, next, *greedy)?;
                        // The last turn that has to be is the loop's first, unless it may take no row, as the others may not.
                        let shares = *least > 0 && !of.may_be_empty();
                        entry = if shares { body } else { turn };
                        before -= u32::from(shares);
                    }
                }
                (0..before).try_fold(entry, |next, _| self.emit(of, next))
            }
        }
    }

    /// Emits a turn that may be left out; behind it, it goes on at `then`, or begins anew. Where it begins, and where its
    /// part does.
    fn turn(
        &mut self,
        of: &Pattern,
        then: Option<usize>,
        next: usize,
        greedy: bool,
    ) -> Option<(usize, usize)> {
        let turn = self.push(Instruction::Accept)?;
        let then = then.unwrap_or(turn);
        if of.may_be_empty() {
            let end = self.push(Instruction::EndOfTurn { turn, next: then })?;
            let body = self.emit(of, end)?;
            self.code[turn] = Instruction::Turn { body, next, greedy };
            return Some((turn, body));
        }
        let body = self.emit(of, then)?;
        self.code[turn] =
            if greedy { Instruction::Split(body, next) } else { Instruction::Split(next, body) };
        Some((turn, body))
    }

    /// What may follow from an instruction on, where every turn that has begun has taken a row.
    fn follow(&self, entry: usize) -> After {
        let mut found = After::default();
        let mut takes = Vec::new();
        // Where it has come by, with the turns that had begun on the way and taken no row: what follows was found then.
        let mut seen: BTreeSet<(usize, Vec<usize>)> = BTreeSet::new();
        let mut open: Vec<(usize, Vec<usize>)> = vec![(entry, Vec::new())];
        while let Some((at, turns)) = open.pop() {
            if !seen.insert((at, turns.clone())) {
                continue;
            }
            match self.code[at] {
                Instruction::Take { state, .. } => {
                    if !takes.contains(&state) {
                        takes.push(state);
                    }
                }
                Instruction::Split(first, second) => {
                    open.extend([(second, turns.clone()), (first, turns)]);
                }
                Instruction::Turn { body, next, greedy } => {
                    let mut begun = turns.clone();
                    begun.push(at);
                    let (body, next) = ((body, begun), (next, turns));
                    open.extend(if greedy { [next, body] } else { [body, next] });
                }
                Instruction::EndOfTurn { turn, next } => {
                    if !turns.contains(&turn) {
                        open.push((next, turns));
                    }
                }
                Instruction::Accept => {
                    found.accepts = true;
                    break;
                }
            }
        }
        After { takes: takes.into(), ..found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares what may follow in the beginning and behind each state, as variables, with a dot for a match.
    fn check(text: &str, expect: &[&str]) {
        let sequence = Sequence::parse(text).unwrap();
        let program = Program::of(&sequence).unwrap();
        let name = |state: &u16| sequence.variables[usize::from(program.variable(*state))].clone();
        let after = |after: &After| {
            let takes: String = after.takes.iter().map(name).collect();
            takes + if after.accepts { "." } else { "" }
        };
        let mut found: Vec<String> = program.after.iter().map(after).collect();
        found[1..].sort();
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn what_follows() {
        check("A", &["A", "."]);
        check("A B", &["A", ".", "B"]);
        check("A* B", &["AB", ".", "AB"]);
        check("A*? B", &["BA", ".", "BA"]);
        check("A+ B", &["A", ".", "AB"]);
        check("A{2,} B", &["A", ".", "A", "AB"]);
        check("A{1,3} B", &["A", ".", "AB", "AB", "B"]);
        check("A B?", &["A", ".", "B."]);
        check("A B??", &["A", ".", "."]);
        check("A | B C", &["AB", ".", ".", "C"]);
        check("(A | B)+ C", &["AB", ".", "ABC", "ABC"]);
        check("(A?)* B", &["AB", ".", "AB"]);
        check("(A??)+ B", &["ABA", ".", "AB", "AB"]);
        check("(A??){,2} B", &["AB", ".", "AB", "B"]);
    }

    #[test]
    fn what_would_be_too_large_is_refused() {
        for text in ["((A{100}){100}){100}", "(A{1000}){5}", "((((A{900})?){900})?){900} B"] {
            assert!(Program::of(&Sequence::parse(text).unwrap()).is_none(), "{text}");
        }
        let wide = format!("{} B", vec!["(A | B | C | D)*"; 500].join(" "));
        assert!(Program::of(&Sequence::parse(&wide).unwrap()).is_none());
        assert!(Program::of(&Sequence::parse("A{1000} B{0,1000} C").unwrap()).is_some());
    }
}
