//! What the pipelines read: small files with rows out of order, late rows, ties and bad records.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// An input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Draws the rows.
    pub seed: u64,
    /// How many rows, bad ones included.
    pub rows: usize,
    /// Into how many files they are dealt.
    pub files: usize,
    /// The bytes of a chunk.
    pub chunk_bytes: usize,
}

/// The inputs that cases draw from: few, because for each the undisturbed run has to be known.
pub(super) const INPUTS: &[Input] = &[
    Input { seed: 1, rows: 160, files: 1, chunk_bytes: 480 },
    Input { seed: 2, rows: 240, files: 2, chunk_bytes: 1600 },
    Input { seed: 3, rows: 200, files: 3, chunk_bytes: 640 },
    Input { seed: 4, rows: 320, files: 1, chunk_bytes: 2400 },
    Input { seed: 5, rows: 100, files: 1, chunk_bytes: 240 },
];

impl Input {
    /// The name of its folder.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("input-{}-{}-{}", self.seed, self.rows, self.files)
    }

    /// Writes its files into a folder, which is made.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut texts = vec![String::new(); self.files.max(1)];
        let mut random = fastrand::Rng::with_seed(self.seed);
        for row in 0..self.rows {
            let text = &mut texts[random.usize(..self.files.max(1))];
            line(text, row, &mut random);
        }
        for (number, text) in texts.iter().enumerate() {
            let mut file = File::create(folder.join(format!("part-{number}.ndjson")))?;
            file.write_all(text.as_bytes())?;
            // A snapshot tells it, and what is written of a snapshot is to be the same whenever a case is repeated.
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
        }
        Ok(())
    }
}

fn line(text: &mut String, row: usize, random: &mut fastrand::Rng) {
    let disorder_ms = match random.u8(..20) {
        0 => random.i64(100..1200),
        1..4 => random.i64(0..80),
        // Several rows of one time.
        _ => 0,
    };
    let row_ms = i64::try_from(row / 2 * 20).expect("few rows");
    let at_ms = (row_ms - disorder_ms).max(0);
    let (key, n) = (random.u32(..12), random.i64(0..30));
    let amount = f64::from(random.u32(..100_000)) / 64.0;
    let (second, milli) = (at_ms / 1000 % 60, at_ms % 1000);
    let pad = "x".repeat(random.usize(..20));
    let result = match random.u8(..40) {
        0 => writeln!(text, "{{\"broken {row} {pad}"),
        _ => writeln!(
            text,
            r#"{{"key":"k{key}","amount":{amount},"n":{n},"at":"2026-01-01T00:00:{second:02}.{milli:03}","pad":"{pad}"}}"#
        ),
    };
    result.expect("a text takes all");
}
