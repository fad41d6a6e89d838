//! What can be wrong with the user's file, told with its place.
//!
//! Three kinds of errors exist in this project. A [`Problem`] is a mistake in the user's file: all of them are
//! collected and rendered at once. Errors of the world (a file that is missing, a disk that is full) are small types
//! beside the code that meets them. Bugs are assertions. A bad record is none of these: it is data.

/// A stretch of one document of [`crate::yaml::Documents`]: byte offsets, the end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Index into the documents: 0 is the pipeline's file, the others are values from the command line.
    pub document: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Place {
    /// The place of the bytes `from..to` of this place's text, counted from its start.
    #[must_use]
    pub fn within(self, from: usize, to: usize) -> Self {
        let clamp =
            |offset: usize| u32::try_from(offset).map_or(self.end, |o| (self.start + o).min(self.end));
        Self { document: self.document, start: clamp(from), end: clamp(to) }
    }
}

/// How much a [`Problem`] weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The pipeline cannot run.
    Error,
    /// The pipeline runs, and probably not as meant.
    Warning,
}

/// One mistake in the user's file: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence without a final stop.
    pub what: String,
    /// Where it is.
    pub at: Place,
    /// What to do about it, or the nearest right name.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    #[must_use]
    pub fn error(at: Place, what: impl Into<String>) -> Self {
        Self { severity: Severity::Error, what: what.into(), at, help: None }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(at: Place, what: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, what: what.into(), at, help: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with the nearest of the right names as advice, or with all of them behind `all`.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, names: impl Iterator<Item = &'a str> + Clone, all: &str) -> Self {
        match nearest(word, names.clone()) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self.help(format!("{all} {}", names.collect::<Vec<_>>().join(", "))),
        }
    }
}

/// All mistakes found so far, in the order they were found.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
}

impl Problems {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// Adds an error with a place.
    pub fn error(&mut self, at: Place, what: impl Into<String>) {
        self.push(Problem::error(at, what));
    }

    /// Whether any of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All, in the order they were found.
    #[must_use]
    pub fn all(&self) -> &[Problem] {
        &self.found
    }
}

/// The candidate that is nearest to a mistyped word, if one is near enough to suggest.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_suggests_only_what_is_near() {
        assert_eq!(nearest("fliter", ["filter", "select"]), Some("filter"));
        assert_eq!(nearest("pth", ["path", "append"]), Some("path"));
        assert_eq!(nearest("banana", ["path", "append"]), None);
    }

    #[test]
    fn a_place_within_stays_inside() {
        let place = Place { document: 0, start: 10, end: 20 };
        assert_eq!(place.within(2, 4), Place { document: 0, start: 12, end: 14 });
        assert_eq!(place.within(2, 400).end, 20);
    }
}
