//! The scratch directory of a benchmark: each of its runs keeps its state in a folder that goes with it.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::BenchError;

/// A folder for the state of runs that nobody goes on from; it goes when this does.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// The folders above it that were made for it, the innermost first.
    made: Vec<PathBuf>,
    runs: u32,
}

impl Scratch {
    /// Makes it: inside of `given`, else beside `state_dir`, so that what is written there goes to the disk to which the
    /// pipeline's own state goes. `process` tells it from those of others.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn make(given: Option<&str>, state_dir: &Path, process: u32) -> Result<Self, BenchError> {
        let path = match given {
            Some(given) => Path::new(given).join(format!("bench-{process}")),
            None => {
                let name = state_dir.file_name().unwrap_or_default().to_string_lossy();
                state_dir.with_file_name(format!("{name}.bench-{process}"))
            }
        };
        let above = path.ancestors().skip(1);
        let made =
            above.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).map(Path::to_owned);
        let made = made.collect();
        fs::create_dir_all(&path)
            .map_err(|error| BenchError::Scratch { path: path.display().to_string(), error })?;
        Ok(Self { path, made, runs: 0 })
    }

    /// A folder for the next run.
    pub fn next_run(&mut self) -> PathBuf {
        self.runs += 1;
        self.path.join(format!("run-{}", self.runs))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays; its name says what it is.
        let _ = fs::remove_dir_all(&self.path);
        for folder in &self.made {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("a/b/state");
        for (given, expect) in [(None, "a/b/state.bench-7"), (Some("given"), "given/bench-7")] {
            let given = given.map(|given| folder.path().join(given).display().to_string());
            let mut scratch = Scratch::make(given.as_deref(), &state_dir, 7).unwrap();
            assert_eq!(scratch.next_run(), folder.path().join(expect).join("run-1"));
            fs::create_dir(scratch.next_run()).unwrap();
            drop(scratch);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}
