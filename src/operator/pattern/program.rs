//! A sequence as an automaton: from which variable's row a match may go on to which.
//!
//! The automaton is Thompson's ("Regular Expression Search Algorithm", CACM 1968) with the ways out of each state in the
//! order of preference, as Pike's virtual machine has them: what a backtracking search would try first comes first. The
//! steps that take no row are followed here, once, so that at run time a state knows the next rows it may take.

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
    Take { state: u16, next: usize },
    /// Goes on at the first, or else at the second.
    Split(usize, usize),
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
        let mut seen = vec![usize::MAX; compiler.code.len()];
        for (state, entry) in entries.into_iter().enumerate() {
            let found = compiler.follow(entry, state, &mut seen);
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
                let choice = |body: usize| {
                    if *greedy { Instruction::Split(body, next) } else { Instruction::Split(next, body) }
                };
                let mut entry = next;
                match most {
                    None => {
                        entry = self.push(Instruction::Accept)?;
                        let body = self.emit(of, entry)?;
                        self.code[entry] = choice(body);
                    }
                    Some(most) => {
                        for _ in *least..*most {
                            let body = self.emit(of, entry)?;
                            entry = self.push(choice(body))?;
                        }
                    }
                }
                (0..*least).try_fold(entry, |next, _| self.emit(of, next))
            }
        }
    }

    /// What may follow from an instruction on; `seen` holds the mark of the walk that came by each instruction last.
    fn follow(&self, entry: usize, mark: usize, seen: &mut [usize]) -> After {
        let (mut takes, mut accepts, mut open) = (Vec::new(), false, vec![entry]);
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut seen[at], mark) == mark {
                // What follows from here has been tried in a preferred place; a turn that takes no row leads nowhere new.
                continue;
            }
            match self.code[at] {
                Instruction::Take { state, .. } => takes.push(state),
                Instruction::Split(first, second) => open.extend([second, first]),
                Instruction::Accept => {
                    accepts = true;
                    break;
                }
            }
        }
        After { takes: takes.into(), accepts }
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
        check("A{2,} B", &["A", ".", "A", "AB", "AB"]);
        check("A{1,3} B", &["A", ".", "AB", "AB", "B"]);
        check("A B?", &["A", ".", "B."]);
        check("A B??", &["A", ".", "."]);
        check("A | B C", &["AB", ".", ".", "C"]);
        check("(A | B)+ C", &["AB", ".", "ABC", "ABC", "ABC", "ABC"]);
        check("(A?)* B", &["AB", ".", "AB"]);
        check("((A | B?)*)+? C", &["ABC", ".", "ABC", "ABC", "ABC", "ABC"]);
    }

    #[test]
    fn what_would_be_too_large_is_refused() {
        for text in ["((A{100}){100}){100}", "(A{1000}){5}", "(((((A{900})?){900})?){900})? B"] {
            assert!(Program::of(&Sequence::parse(text).unwrap()).is_none(), "{text}");
        }
        let wide = format!("{} B", vec!["(A | B | C | D)*"; 500].join(" "));
        assert!(Program::of(&Sequence::parse(&wide).unwrap()).is_none());
        assert!(Program::of(&Sequence::parse("A{1000} B{0,1000} C").unwrap()).is_some());
    }
}
