//! The systemd unit, tried for real: a systemd in a box (`scripts/systemd-box`) runs the built program by it. Where there
//! can be no such box, the test says so and passes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

/// Orders without end, a thousand a second; every second one is written below the state directory.
const ORDERS: &str = r#"
millstream: 1
name: orders
source:
  generator: { rate: 1000 per 1s, columns: { n: n } }
steps:
  - filter: MOD(n, 2) = 0
  - select: { n: n }
sink:
  file: { path: "${STATE_DIRECTORY}/orders.ndjson" }
  format: json
"#;
const MISTAKEN: &str = "millstream: 1\nname: mistaken\nsource:\n  generatr:\nsink:\n  blackhole:\n";

/// A running box, taken down at the end whatever the test came to.
struct SystemdBox {
    folder: tempfile::TempDir,
}

impl SystemdBox {
    /// None, and the reason on standard error, where this machine cannot have one.
    fn up() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a scratch directory");
        let install = folder.path().join("install");
        let put = |from: &Path, to: &str| {
            let to = install.join(to);
            fs::create_dir_all(to.parent().expect("it lies in a folder")).expect("a folder");
            fs::copy(from, to).expect("a copy");
        };
        put(Path::new(env!("CARGO_BIN_EXE_millstream")), "usr/local/bin/millstream");
        put(&project("systemd/millstream@.service"), "etc/systemd/system/millstream@.service");
        fs::create_dir_all(install.join("etc/millstream")).expect("a folder");
        fs::write(install.join("etc/millstream/orders.yaml"), ORDERS).expect("a file");
        fs::write(install.join("etc/millstream/mistaken.yaml"), MISTAKEN).expect("a file");

        let booted = script(folder.path(), "up", &[]);
        if booted.status.code() == Some(77) {
            // Past the test harness, which keeps what a passing test prints to itself.
            writeln!(std::io::stderr(), "SKIPPED: the systemd unit was not tried: {}", text(&booted.stderr))
                .expect("standard error is open");
            return None;
        }
        assert!(booted.status.success(), "{}{}", text(&booted.stdout), text(&booted.stderr));
        Some(Self { folder })
    }

    fn run(&self, command: &[&str]) -> Output {
        script(self.folder.path(), "run", command)
    }

    /// What a command prints that has to succeed.
    fn output(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}\n{}", text(&output.stderr), self.journal());
        text(&output.stdout).trim_end().to_owned()
    }

    /// A property of a service.
    fn property(&self, service: &str, name: &str) -> String {
        self.output(&["systemctl", "show", "--value", "--property", name, service])
    }

    fn journal(&self) -> String {
        text(&self.run(&["journalctl", "--no-pager", "--output", "cat"]).stdout).to_owned()
    }
}

impl Drop for SystemdBox {
    fn drop(&mut self) {
        let down = script(self.folder.path(), "down", &[]);
        assert!(down.status.success() || std::thread::panicking(), "{}", text(&down.stderr));
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn script(folder: &Path, verb: &str, rest: &[&str]) -> Output {
    Command::new(project("scripts/systemd-box"))
        .arg(verb)
        .arg(folder)
        .args(rest)
        .output()
        .expect("the script can be run")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_pipeline_runs_as_a_service() {
    let Some(systemd) = SystemdBox::up() else { return };
    let service = "millstream@orders";

    // `start` returns once the program has told that it is ready.
    systemd.output(&["systemctl", "start", service]);
    assert_eq!(systemd.output(&["systemctl", "is-active", service]), "active");
    assert_eq!(systemd.property(service, "NotifyAccess"), "main");
    let state = "/var/lib/millstream/orders/";
    assert_eq!(systemd.output(&["stat", "--format", "%a", state]), "700");
    systemd.output(&["test", "-f", &format!("{state}LOCK")]);

    // Killed, it comes back by itself.
    let first = systemd.property(service, "MainPID");
    systemd.output(&["systemctl", "kill", "--signal", "KILL", service]);
    let again = (0..100).any(|_| {
        sleep(Duration::from_millis(100));
        systemd.property(service, "ActiveState") == "active" && systemd.property(service, "MainPID") != first
    });
    assert!(again, "{}", systemd.journal());
    assert_eq!(systemd.property(service, "NRestarts"), "1");

    // Stopped, it drains: the output is complete, under its name, and ends cleanly.
    sleep(Duration::from_secs(1));
    systemd.output(&["systemctl", "stop", service]);
    assert_eq!(systemd.property(service, "ActiveState"), "inactive");
    assert_eq!(systemd.property(service, "Result"), "success", "{}", systemd.journal());
    assert_eq!(systemd.property(service, "ExecMainStatus"), "0");
    let written = systemd.output(&["cat", &format!("{state}orders.ndjson")]);
    check_orders(&written, &systemd.journal());
    assert_eq!(systemd.output(&["ls", state]), "LOCK\norders.ndjson\nsnapshots");

    // A wrong pipeline file is not tried again.
    let mistaken = "millstream@mistaken";
    assert!(!systemd.run(&["systemctl", "start", mistaken]).status.success());
    assert_eq!(systemd.property(mistaken, "ExecMainStatus"), "78");
    sleep(Duration::from_secs(3));
    assert_eq!(systemd.property(mistaken, "ActiveState"), "failed");
    assert_eq!(systemd.property(mistaken, "NRestarts"), "0");
}

/// That these are even numbers, each once, and as many as the run said at its end.
fn check_orders(written: &str, journal: &str) {
    let mut numbers: Vec<u64> = written
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).expect("a row");
            row["n"].as_u64().expect("a number")
        })
        .collect();
    numbers.sort_unstable();
    assert!(numbers.len() > 100, "{} rows\n{journal}", numbers.len());
    assert!(numbers.iter().all(|number| number % 2 == 0));
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
    let told = journal.split_once(" rows in, ").and_then(|(_, rest)| rest.split_once(" out, "));
    let told = told.map(|(count, _)| count.replace(',', ""));
    assert_eq!(told, Some(numbers.len().to_string()), "{journal}");
    assert!(journal.contains("drained: what was read is written"), "{journal}");
}
