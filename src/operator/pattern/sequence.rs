//! The text of `sequence`: which variables follow one another, and how often.
//!
//! Names stand one behind the other (`A B C`), in groups (`(A B)+`), as alternatives (`A | B`, the first one preferred),
//! and each may have a quantifier: `?`, `*`, `+`, `{n}`, `{n,}`, `{n,m}`, `{,m}`. A quantifier takes as many rows as it
//! can; with a `?` behind it, as few.

use crate::error::nearest;
use crate::expr::ExprError;

/// The most variables: their conditions are the bits of a word.
pub(super) const VARIABLES_MAX: usize = 64;

/// How deep groups may nest.
const DEPTH_MAX: usize = 16;

/// The most repetitions that a quantifier may count.
const COUNT_MAX: u32 = 1000;

/// A part of a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// One row that the variable of this number takes.
    Variable(u8),
    /// One behind the other.
    Concatenation(Vec<Pattern>),
    /// One of them, the first that leads to a match.
    Alternation(Vec<Pattern>),
    /// Again and again.
    Repetition {
        of: Box<Pattern>,
        least: u32,
        /// None for any number of times.
        most: Option<u32>,
        /// Whether it takes as many rows as it can; else as few.
        greedy: bool,
    },
}

/// A sequence that matches at least one row.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    /// The names of the variables, in the order in which they appear first.
    pub variables: Vec<String>,
    pub pattern: Pattern,
}

impl Sequence {
    /// Reads a sequence.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place in the text.
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        let mut parser = Parser { text, at: 0, depth: 0, variables: Vec::new() };
        let pattern = parser.alternation()?;
        if let Some(c) = parser.peek() {
            let help = match c {
                ')' => "a `(` is missing before it",
                _ => "a sequence is made of variables, groups and quantifiers: A B+ (C | D){2,5}",
            };
            return Err(parser.unexpected(c, help));
        }
        let whole = |what: &str, help: &str| mistake((0, text.len()), what, help);
        if pattern.may_be_empty() {
            return Err(whole(
                "this sequence also matches no rows at all",
                "ask for at least one row: A+ instead of A*",
            ));
        }
        if pattern.ends_open() {
            return Err(whole(
                "this sequence ends in a part that takes rows without end",
                "put a variable behind it that ends it, for instance A+ B with B: NOT (…), or say how many rows at most: A{1,10}",
            ));
        }
        Ok(Self { variables: parser.variables, pattern })
    }

    /// The number of a variable.
    pub fn index_of(&self, name: &str) -> Option<u8> {
        let index = self.variables.iter().position(|variable| variable == name)?;
        Some(u8::try_from(index).expect("there are at most 64 variables"))
    }

    /// The variable's name that is nearest to a mistyped one, or all of them, as advice.
    pub fn suggest(&self, name: &str) -> String {
        // Names of one letter are all near one another.
        match nearest(name, self.variables.iter().map(String::as_str)).filter(|near| near.len() > 1) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the sequence has {}", self.variables.join(", ")),
        }
    }
}

impl Pattern {
    /// Whether it matches no rows.
    pub fn may_be_empty(&self) -> bool {
        match self {
            Self::Variable(_) => false,
            Self::Concatenation(parts) => parts.iter().all(Self::may_be_empty),
            Self::Alternation(parts) => parts.iter().any(Self::may_be_empty),
            Self::Repetition { of, least, .. } => *least == 0 || of.may_be_empty(),
        }
    }

    /// Whether its last rows are taken by a greedy quantifier without end, so that a match would end only with the first
    /// row that does not fit.
    fn ends_open(&self) -> bool {
        match self {
            Self::Variable(_) => false,
            Self::Concatenation(parts) => {
                let optional = parts.iter().rev().take_while(|part| part.may_be_empty()).count();
                parts.iter().rev().take(optional + 1).any(Self::ends_open)
            }
            Self::Alternation(parts) => parts.iter().any(Self::ends_open),
            Self::Repetition { of, most, greedy, .. } => (most.is_none() && *greedy) || of.ends_open(),
        }
    }

    /// The variables that have a row in every match, as bits.
    pub fn mandatory(&self) -> u64 {
        match self {
            Self::Variable(variable) => 1 << variable,
            Self::Concatenation(parts) => parts.iter().fold(0, |bits, part| bits | part.mandatory()),
            Self::Alternation(parts) => parts.iter().fold(u64::MAX, |bits, part| bits & part.mandatory()),
            Self::Repetition { of, least, .. } => {
                if *least > 0 {
                    of.mandatory()
                } else {
                    0
                }
            }
        }
    }
}

fn mistake(span: (usize, usize), what: impl Into<String>, help: &str) -> ExprError {
    ExprError { span, what: what.into(), help: Some(help.to_owned()) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    variables: Vec<String>,
}

impl Parser<'_> {
    /// The next character that is not white space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    /// Takes the next character if it is this one.
    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn unexpected(&self, c: char, help: &str) -> ExprError {
        mistake((self.at, self.at + c.len_utf8()), format!("`{c}` does not belong here"), help)
    }

    fn alternation(&mut self) -> Result<Pattern, ExprError> {
        let mut parts = vec![self.concatenation()?];
        while self.take('|') {
            parts.push(self.concatenation()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Pattern::Alternation(parts) })
    }

    fn concatenation(&mut self) -> Result<Pattern, ExprError> {
        let mut parts = Vec::new();
        while let Some(part) = self.primary()? {
            parts.push(self.quantified(part)?);
        }
        match parts.len() {
            0 => {
                let at = (self.at.min(self.text.len().saturating_sub(1)), self.text.len());
                Err(match self.peek() {
                    Some(c @ ('?' | '*' | '+')) => {
                        self.unexpected(c, "a quantifier stands behind a variable or a group")
                    }
                    Some(c) if c != ')' && c != '|' => self.unexpected(c, "name a variable: A B+ C"),
                    _ => {
                        mistake(at, "a variable is missing here", "name the variables in their order: A B+ C")
                    }
                })
            }
            1 => Ok(parts.swap_remove(0)),
            _ => Ok(Pattern::Concatenation(parts)),
        }
    }

    /// A variable or a group; none where something else follows.
    fn primary(&mut self) -> Result<Option<Pattern>, ExprError> {
        let start = self.at;
        match self.peek() {
            Some('(') => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return Err(self.unexpected('(', "groups nest at most 16 deep"));
                }
                let open = self.at;
                self.take('(');
                let inner = self.alternation()?;
                if !self.take(')') {
                    return Err(mistake((open, open + 1), "this group is not closed", "a `)` is missing"));
                }
                self.depth -= 1;
                Ok(Some(inner))
            }
            Some('{') if self.text[self.at..].starts_with("{-") => {
                let help =
                    "in this version all rows of a match belong to it: leave their variable out of `select`";
                Err(mistake((self.at, self.at + 2), "rows cannot be excluded from a match", help))
            }
            Some(c) if c.is_alphabetic() || c == '_' => self.variable().map(Some),
            _ => {
                self.at = self.at.max(start);
                Ok(None)
            }
        }
    }

    fn variable(&mut self) -> Result<Pattern, ExprError> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, span) = (&rest[..length], (self.at, self.at + length));
        self.at += length;
        if name.eq_ignore_ascii_case("PERMUTE") && self.peek() == Some('(') {
            let help = "write the orders down: (A B | B A)";
            return Err(mistake(span, "PERMUTE is not in this version", help));
        }
        let index = self.variables.iter().position(|known| known == name).unwrap_or_else(|| {
            self.variables.push(name.to_owned());
            self.variables.len() - 1
        });
        match u8::try_from(index) {
            Ok(index) if usize::from(index) < VARIABLES_MAX => Ok(Pattern::Variable(index)),
            _ => Err(mistake(span, "a sequence has at most 64 variables", "match it in two steps")),
        }
    }

    /// The part with the quantifiers behind it.
    fn quantified(&mut self, part: Pattern) -> Result<Pattern, ExprError> {
        let Some((least, most)) = self.quantifier()? else { return Ok(part) };
        // A `?` is the quantifier's only where it follows at once.
        let reluctant = self.text[self.at..].starts_with('?');
        if reluctant {
            self.at += 1;
        }
        if let Some(c @ ('?' | '*' | '+' | '{')) = self.peek() {
            return Err(self.unexpected(c, "one quantifier is enough; a group may have another: (A+){2}"));
        }
        Ok(Pattern::Repetition { of: Box::new(part), least, most, greedy: !reluctant })
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, ExprError> {
        let known = match self.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') if !self.text[self.at..].starts_with("{-") => return self.counts().map(Some),
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(known))
    }

    /// `{n}`, `{n,}`, `{n,m}` or `{,m}`.
    fn counts(&mut self) -> Result<(u32, Option<u32>), ExprError> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find('}').map_or(self.text.len(), |length| start + length + 1);
        let wrong = |what: &str, help: &str| Err(mistake((start, end), what, help));
        let how = "write {3}, {3,}, {3,5} or {,5}";
        let inner = rest.strip_prefix('{').unwrap_or(rest);
        let Some((inner, _)) = inner.split_once('}') else {
            return wrong("this quantifier is not closed", how);
        };
        let number = |text: &str| text.trim().parse::<u32>().ok().filter(|_| !text.trim().starts_with('+'));
        let (least, most) = match inner.split_once(',') {
            None => (number(inner), number(inner).map(Some)),
            Some((least, most)) => {
                let (least, most) = (least.trim(), most.trim());
                if least.is_empty() && most.is_empty() {
                    return wrong("this quantifier counts nothing", how);
                }
                let least = if least.is_empty() { Some(0) } else { number(least) };
                (least, if most.is_empty() { Some(None) } else { number(most).map(Some) })
            }
        };
        let (Some(least), Some(most)) = (least, most) else {
            return wrong("a quantifier counts with whole numbers", how);
        };
        if least > COUNT_MAX || most.is_some_and(|most| most > COUNT_MAX) {
            return wrong("a quantifier counts to 1000 at most", "leave the upper bound out: {1000,}");
        }
        if most.is_some_and(|most| most < least || most == 0) {
            return wrong("no number of rows satisfies this quantifier", how);
        }
        self.at = end;
        Ok((least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern with every group and quantifier written out.
    fn text(sequence: &Sequence, pattern: &Pattern) -> String {
        let join = |parts: &[Pattern], between: &str| {
            let parts: Vec<String> = parts.iter().map(|part| text(sequence, part)).collect();
            format!("({})", parts.join(between))
        };
        match pattern {
            Pattern::Variable(index) => sequence.variables[usize::from(*index)].clone(),
            Pattern::Concatenation(parts) => join(parts, " "),
            Pattern::Alternation(parts) => join(parts, "|"),
            Pattern::Repetition { of, least, most, greedy } => {
                let most = most.map_or(String::new(), |most| most.to_string());
                format!("{}{{{least},{most}}}{}", text(sequence, of), if *greedy { "" } else { "?" })
            }
        }
    }

    /// Compares what a sequence is read as, or the mistake with its place.
    fn check(written: &str, expect: &str) {
        let found = match Sequence::parse(written) {
            Ok(sequence) => text(&sequence, &sequence.pattern),
            Err(ExprError { span, what, .. }) => format!("{what}: {}", &written[span.0..span.1]),
        };
        assert_eq!(found, expect, "{written}");
    }

    #[test]
    fn sequences() {
        check("A", "A");
        check("F{5,} S", "(F{5,} S)");
        check(" A  B * C+?\tD", "(A B{0,} C{1,}? D)");
        check("A{3}B{,2}?C{2 , 4}D", "(A{3,3} B{0,2}? C{2,4} D)");
        check("(A B)+ (C | D E?)?? F", "((A B){1,} (C|(D E{0,1})){0,1}? F)");
        check("A B A", "(A B A)");
        check("étage _x1", "(étage _x1)");
        check("A B?", "(A B{0,1})");
        check("A B*?", "(A B{0,}?)");
        check("A+ B{1,10}", "(A{1,} B{1,10})");
    }

    #[test]
    fn mistakes() {
        let missing = "a variable is missing here";
        for text in ["A |", "(A | ) B", "()"] {
            let found = Sequence::parse(text).unwrap_err();
            assert_eq!(found.what, missing, "{text}");
        }
        assert_eq!(Sequence::parse("").unwrap_err().what, missing);
        check("* A", "`*` does not belong here: *");
        check("A ** B", "`*` does not belong here: *");
        check("A + + B", "`+` does not belong here: +");
        check("A, B", "`,` does not belong here: ,");
        check("A)", "`)` does not belong here: )");
        check("A (B C", "this group is not closed: (");
        check("^A", "`^` does not belong here: ^");
        check("1A", "`1` does not belong here: 1");
        check("A{} B", "a quantifier counts with whole numbers: {}");
        check("A{,} B", "this quantifier counts nothing: {,}");
        check("A{x} B", "a quantifier counts with whole numbers: {x}");
        check("A{-1} B", "rows cannot be excluded from a match: {-");
        check("A {- B -} C", "rows cannot be excluded from a match: {-");
        check("A{+1} B", "a quantifier counts with whole numbers: {+1}");
        check("A{3 B", "this quantifier is not closed: {3 B");
        check("A{3,2} B", "no number of rows satisfies this quantifier: {3,2}");
        check("A{0} B", "no number of rows satisfies this quantifier: {0}");
        check("A{99999999999} B", "a quantifier counts with whole numbers: {99999999999}");
        check("A{1001} B", "a quantifier counts to 1000 at most: {1001}");
        check("PERMUTE(A, B)", "PERMUTE is not in this version: PERMUTE");
        for empty in ["A*", "A? B*", "A | B?", "(A B?)?", "A{0,3}"] {
            assert_eq!(
                Sequence::parse(empty).unwrap_err().what,
                "this sequence also matches no rows at all",
                "{empty}"
            );
        }
        for open in ["A+", "A B*", "A B{2,}", "A (B | C+)", "(A B)+", "A B+ C?", "(A | B+) C*?", "(A B+){2}"]
        {
            assert_eq!(
                Sequence::parse(open).unwrap_err().what,
                "this sequence ends in a part that takes rows without end",
                "{open}"
            );
        }
        let many: Vec<String> = (0..65).map(|number| format!("V{number}")).collect();
        assert!(Sequence::parse(&many[..64].join(" ")).is_ok());
        assert_eq!(Sequence::parse(&many.join(" ")).unwrap_err().what, "a sequence has at most 64 variables");
        assert!(Sequence::parse(&format!("{}A{}", "(".repeat(16), ")".repeat(16))).is_ok());
        assert!(Sequence::parse(&"(".repeat(100_000)).is_err());
    }

    #[test]
    fn variables_that_every_match_has() {
        let check = |text: &str, expect: u64| {
            assert_eq!(Sequence::parse(text).unwrap().pattern.mandatory(), expect, "{text}");
        };
        check("A B* C+ D? E", 0b1_0101);
        check("(A B | B C) D", 0b1010);
        check("(A B){0,2} C (D E?){2,}?", 0b01100);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let mut random = fastrand::Rng::with_seed(1);
        let signs =
            ["A", "B", " ", "é", "(", ")", "|", "{", "}", ",", "2", "0", "?", "*", "+", "-", "PERMUTE"];
        for _ in 0..50_000 {
            let text: String = (0..random.usize(0..12)).map(|_| signs[random.usize(..signs.len())]).collect();
            if let Err(ExprError { span: (from, to), .. }) = Sequence::parse(&text) {
                assert!(from <= to && to <= text.len(), "{text}");
            }
        }
    }
}
