//! A scene for the built program: a folder of its own with inputs, a pipeline and a state directory, in which the program
//! is run to its end or watched while it runs. No test waits for an amount of time to pass: what it waits for has a
//! generous limit, so that a hang is a failure and a slow machine is not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What takes longer than this hangs.
pub const LIMIT: Duration = Duration::from_mins(2);

/// A folder with all that a run needs; it goes when the scene does.
pub struct Scene(tempfile::TempDir);

/// How a run ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Scene {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a scratch directory"))
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Writes a file and yields its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("a file in the scratch directory");
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn exists(&self, name: &str) -> bool {
        Path::new(&self.path(name)).exists()
    }

    /// The names of all that is in a folder of the scene, sorted; none where there is no such folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.expect("an entry").file_name().to_str().expect("UTF-8").to_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    /// The path of an unfinished output of `out.ndjson`, which has a hidden name.
    pub fn unfinished(&self) -> Option<String> {
        let names = self.names(".");
        names.iter().find(|name| name.starts_with(".out.ndjson.")).map(|name| self.path(name))
    }

    /// The program, to be run inside the folder.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
        command.current_dir(self.0.path()).args(arguments);
        for name in ["STATE_DIRECTORY", "NOTIFY_SOCKET", "JOURNAL_STREAM", "MILLSTREAM_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// `run` of a pipeline that is given as text, with its state in the folder.
    pub fn pipeline(&self, text: &str, arguments: &[&str]) -> Command {
        let file = self.write("pipeline.yaml", text);
        self.program(&[&["run", &file, "--state-dir", "state"], arguments].concat())
    }

    /// Runs a pipeline to its end.
    pub fn run(&self, text: &str, arguments: &[&str]) -> Ended {
        end(&mut self.pipeline(text, arguments))
    }

    /// Runs a pipeline that has to succeed, and yields what it wrote to `out.ndjson`.
    pub fn output(&self, text: &str, arguments: &[&str]) -> String {
        let ended = self.run(text, arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        self.read("out.ndjson")
    }

    /// The lines of all quarantines of the scene.
    pub fn quarantine(&self) -> Vec<serde_json::Value> {
        let files = self.names("state/quarantine");
        let texts = files.iter().map(|name| self.read(&format!("state/quarantine/{name}")));
        let texts: Vec<String> = texts.collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

/// The lines of a text, sorted.
pub fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

/// A pipeline from `in.ndjson` to `out.ndjson`; `source` and `steps` are indented as the file needs it.
pub fn file_to_file(source: &str, steps: &str) -> String {
    format!(
        "millstream: 1\nname: scene\nsource:\n  file: {{ path: in.ndjson }}\n  format: json\n{source}\n{steps}\n\
         sink:\n  file: {{ path: out.ndjson }}\n  format: json\n"
    )
}

/// Runs a command to its end.
pub fn end(command: &mut Command) -> Ended {
    let mut watched = Watched::start(command);
    watched.close();
    watched.wait()
}

/// A program that runs.
pub struct Watched {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Lines of standard output that have been taken.
    taken: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

impl Watched {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).expect("UTF-8") > 0 {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("UTF-8");
            text
        });
        Self { child, stdin, lines, taken: Vec::new(), stderr: Some(stderr) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes to standard input.
    pub fn send(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).expect("it is read");
    }

    /// Ends standard input.
    pub fn close(&mut self) {
        self.stdin = None;
    }

    /// The next line of standard output, without its end.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => {
                self.taken.push(line);
                self.taken.last().expect("just pushed").trim_end_matches('\n').to_owned()
            }
            Err(error) => {
                let last = self.taken.last().cloned();
                panic!("no line came after {last:?}: {error}; {}", self.stop().stderr)
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.expect("there is a kill").success(), "the process is there");
    }

    /// Waits until `done` holds while the program runs.
    pub fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        let started = Instant::now();
        while !done() {
            let over = self.child.try_wait().expect("a child").is_some() || started.elapsed() > LIMIT;
            assert!(!over, "{what} did not happen: {:?}", self.stop());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Ended {
        let started = Instant::now();
        loop {
            match self.lines.recv_timeout(LIMIT.saturating_sub(started.elapsed())) {
                Ok(line) => self.taken.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it hangs: {:?}", self.stop()),
            }
        }
        while self.child.try_wait().expect("a child").is_none() {
            assert!(started.elapsed() < LIMIT, "it hangs: {:?}", self.stop());
            thread::sleep(Duration::from_millis(2));
        }
        self.ended()
    }

    /// Ends the program by force, and tells what it has written.
    fn stop(&mut self) -> Ended {
        drop(self.child.kill());
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let status = self.child.wait().expect("a child");
        self.taken.extend(self.lines.try_iter());
        let stderr = self.stderr.take().map(|thread| thread.join().expect("it reads")).unwrap_or_default();
        Ended { code: status.code(), stdout: self.taken.concat(), stderr }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A test that has failed leaves nothing running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Says that a test cannot be made here, past the test harness, which keeps what a passing test prints to itself.
pub fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("standard error is open");
}
