//! What can be seen of a run from outside, and what it is compared with: that of an undisturbed run.

use std::path::Path;

use super::life::STATE;
use crate::io::{ModelDisk, Storage};
use crate::snapshot::{Counts, Store};

/// The rows of all outputs, sorted, and what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The main output.
    pub main: Vec<String>,
    /// The side stream.
    pub side: Vec<String>,
    /// The bad records, without the time at which they were kept.
    pub quarantine: Vec<String>,
    /// What was counted.
    pub counts: Counts,
}

impl Outcome {
    /// What can be seen now. A hidden name is one that nobody sees.
    ///
    /// # Errors
    ///
    /// What must never be, in words.
    pub fn seen(disk: &ModelDisk, quarantine: &Path, counts: Counts) -> Result<Self, String> {
        let mut outcome = Self { counts, ..Self::default() };
        for (path, _) in disk.files() {
            let Some(below) = path.strip_prefix("out/") else { continue };
            if below.rsplit('/').next().is_some_and(|name| name.starts_with('.')) {
                continue;
            }
            let folder = below.rsplit_once('/').map_or("", |(folder, _)| folder);
            let rows = if below.starts_with("side") { &mut outcome.side } else { &mut outcome.main };
            rows.extend(lines(&read(disk, Path::new(&path))?).map(|line| format!("{folder}|{line}")));
        }
        let kept = disk.length(quarantine).map_err(|error| error.to_string())?;
        if kept.is_some() {
            for line in lines(&read(disk, quarantine)?) {
                outcome.quarantine.push(without_time(line)?);
            }
        }
        outcome.sort();
        Ok(outcome)
    }

    fn sort(&mut self) {
        self.main.sort_unstable();
        self.side.sort_unstable();
        self.quarantine.sort_unstable();
    }

    /// What is different from what is expected, in words; none where nothing is.
    #[must_use]
    pub fn difference(&self, expect: &Self) -> Option<String> {
        let outputs = [
            ("the output", &self.main, &expect.main),
            ("the side stream", &self.side, &expect.side),
            ("the quarantine", &self.quarantine, &expect.quarantine),
        ];
        for (name, rows, expected) in outputs {
            let (missing, more) = (first_without(expected, rows), first_without(rows, expected));
            if missing.is_some() || more.is_some() {
                return Some(format!(
                    "{name} has {} rows instead of {}; missing: {missing:?}; not expected: {more:?}",
                    rows.len(),
                    expected.len()
                ));
            }
        }
        (self.counts != expect.counts)
            .then(|| format!("the counts are {:?} instead of {:?}", self.counts, expect.counts))
    }

    /// What can be seen and must not, since it is in no undisturbed run or there more rarely; none where there is nothing.
    #[must_use]
    pub fn excess(&self, expect: &Self) -> Option<String> {
        let outputs = [
            ("the output", &self.main, &expect.main),
            ("the side stream", &self.side, &expect.side),
            ("the quarantine", &self.quarantine, &expect.quarantine),
        ];
        outputs.into_iter().find_map(|(name, rows, expected)| {
            first_without(rows, expected).map(|row| format!("{name} shows a row too often: {row}"))
        })
    }

    /// What can be seen of a run that is to go on: an output in place and the quarantine count up to the length that the
    /// newest snapshot names.
    ///
    /// # Errors
    ///
    /// What must never be, in words: above all that something committed is gone.
    pub fn committed(disk: &ModelDisk, store: &Store) -> Result<Option<Self>, String> {
        let Some(newest) = store.newest().map_err(|error| error.to_string())? else { return Ok(None) };
        let manifest =
            newest.manifest.map_err(|error| format!("a committed manifest is damaged: {error}"))?;
        let mut outcome = Self { counts: manifest.counts, ..Self::default() };
        for (name, position) in &manifest.outputs {
            let Some(in_place) = position.get("in_place") else { continue };
            let path = in_place["path"].as_str().unwrap_or_default();
            let bytes = in_place["bytes"].as_u64().unwrap_or(u64::MAX);
            let text = prefix(disk, Path::new(path), bytes)?;
            let rows = lines(&text).map(|line| format!("|{line}")).collect();
            if name == "sink" { outcome.main = rows } else { outcome.side = rows }
        }
        if let Some(extent) = &manifest.quarantine {
            let path = Path::new(STATE).join("quarantine").join(&extent.file);
            for line in lines(&prefix(disk, &path, extent.bytes)?) {
                outcome.quarantine.push(without_time(line)?);
            }
        }
        outcome.sort();
        Ok(Some(outcome))
    }
}

fn read(disk: &ModelDisk, path: &Path) -> Result<String, String> {
    let bytes = disk.read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is no text", path.display()))
}

/// The first bytes of a file that has to have so many.
fn prefix(disk: &ModelDisk, path: &Path, bytes: u64) -> Result<String, String> {
    let content = disk.read(path).map_err(|error| format!("{} is gone: {error}", path.display()))?;
    let length = usize::try_from(bytes).ok().filter(|length| *length <= content.len());
    let length = length.ok_or_else(|| {
        format!("{} has {} bytes, and {bytes} are committed", path.display(), content.len())
    })?;
    String::from_utf8(content[..length].to_vec()).map_err(|_| format!("{} is no text", path.display()))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n')
}

/// A line of the quarantine without the time at which it was kept.
fn without_time(line: &str) -> Result<String, String> {
    let (kept, _) =
        line.rsplit_once(",\"at\":").ok_or_else(|| format!("a line of the quarantine is {line:?}"))?;
    Ok(kept.to_owned())
}

/// The first row that is more often among `rows` than among `others`; both are sorted.
fn first_without<'a>(rows: &'a [String], others: &[String]) -> Option<&'a String> {
    let mut others = others.iter().peekable();
    rows.iter().find(|row| {
        while others.peek().is_some_and(|other| other < row) {
            others.next();
        }
        others.next_if(|other| other == row).is_none()
    })
}
