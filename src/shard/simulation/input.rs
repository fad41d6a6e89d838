//! What the pipelines read: small files with rows out of order, late rows, ties and bad records, each as JSON and as CSV,
//! and a table.

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

    /// Writes its files into a folder, which is made: `part-*.ndjson`, the same records as `part-*.csv`, and `table.csv`.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut texts = vec![(String::new(), String::new()); self.files.max(1)];
        for (number, (_, csv)) in texts.iter_mut().enumerate() {
            // The files have their columns in different orders, and each has one that nobody reads.
            csv.push_str(CSV_COLUMNS[number % CSV_COLUMNS.len()]);
            csv.push('\n');
        }
        let mut random = fastrand::Rng::with_seed(self.seed);
        for row in 0..self.rows {
            let number = random.usize(..self.files.max(1));
            let record = Record::draw(row, &mut random);
            let (json, csv) = &mut texts[number];
            record.write_json(json);
            record.write_csv(CSV_COLUMNS[number % CSV_COLUMNS.len()], csv);
        }
        for (number, (json, csv)) in texts.iter().enumerate() {
            write_file(&folder.join(format!("part-{number}.ndjson")), json)?;
            write_file(&folder.join(format!("part-{number}.csv")), csv)?;
        }
        write_file(&folder.join("table.csv"), TABLE)
    }
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    // A snapshot tells it, and what is written of a snapshot is to be the same whenever a case is repeated.
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000))
}

/// The first lines of the CSV files.
const CSV_COLUMNS: [&str; 2] = ["key,amount,n,at,pad", "pad,at,n,key,amount"];

/// Names of some of the keys, which change in the middle of the input.
const TABLE: &str = "key,since,name,n
k0,2026-01-01T00:00:00,zero,0
k0,2026-01-01T00:00:01,\"zero, later\",10
k3,2026-01-01T00:00:00.5,three,3
k4,2025-12-31T00:00:00,four,4
k4,2026-01-01T00:00:01.5,,14
k7,2026-01-01T00:00:00.1,seven,7
k11,2026-01-02T00:00:00,never,11
";

/// A record of the input.
struct Record {
    key: u32,
    n: i64,
    amount: f64,
    at: String,
    pad: usize,
    /// The number of one that cannot be read.
    broken: Option<usize>,
}

impl Record {
    fn draw(row: usize, random: &mut fastrand::Rng) -> Self {
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
        let at = format!("2026-01-01T00:00:{:02}.{:03}", at_ms / 1000 % 60, at_ms % 1000);
        let pad = random.usize(..20);
        let broken = (random.u8(..40) == 0).then_some(row);
        Self { key, n, amount, at, pad, broken }
    }

    fn write_json(&self, text: &mut String) {
        let Self { key, n, amount, at, pad, broken } = self;
        let pad = "x".repeat(*pad);
        let result = match broken {
            Some(row) => writeln!(text, "{{\"broken {row} {pad}"),
            None => {
                writeln!(text, r#"{{"key":"k{key}","amount":{amount},"n":{n},"at":"{at}","pad":"{pad}"}}"#)
            }
        };
        result.expect("a text takes all");
    }

    fn write_csv(&self, columns: &str, text: &mut String) {
        let Self { key, n, amount, at, pad, broken } = self;
        if let Some(row) = broken {
            writeln!(text, "\"broken {row}").expect("a text takes all");
            return;
        }
        let field = |column: &str| match column {
            "key" => format!("\"k{key}\""),
            "amount" => amount.to_string(),
            "n" => n.to_string(),
            "at" => at.clone(),
            // So that a record is about as long as it is as JSON.
            _ => format!("\"{}, in a column that nobody reads,\"", "x".repeat(*pad)),
        };
        let fields: Vec<String> = columns.split(',').map(field).collect();
        writeln!(text, "{}", fields.join(",")).expect("a text takes all");
    }
}
