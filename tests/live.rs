//! A pipeline that lives: a line goes through it the moment it comes, it costs nothing while nothing comes, and its
//! shards sit where they should.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, skipped};

const FILTER: &str = "millstream: 1
name: live
source:
  stdin:
  format: json
  schema: { n: BIGINT NOT NULL }
steps:
  - filter: n >= 0
sink:
  stdout:
  format: json
";

fn start(scene: &Scene, options: &[&str]) -> Watched {
    Watched::start(&mut scene.pipeline(FILTER, options))
}

/// Sends a line and waits for it to come out. The next one is not sent before, so nothing but the line itself can push
/// it through.
fn ping(running: &mut Watched, n: i64) {
    running.send(&format!("{{\"n\":{n}}}\n"));
    assert_eq!(running.line(), format!("{{\"n\":{n}}}"));
}

#[test]
fn a_line_comes_out_before_the_next_is_written() {
    for options in [
        &["--cores", "1"][..],
        &["--cores", "2"],
        &["--cores", "3"],
        &["--cores", "1", "--io", "threads"],
        &["--cores", "3", "--io", "threads"],
    ] {
        let scene = Scene::new();
        let mut running = start(&scene, options);
        for n in 0..1000 {
            ping(&mut running, n);
        }
        // From out of idleness: long enough for every shard to have gone to sleep.
        for n in 1000..1005 {
            thread::sleep(Duration::from_millis(100));
            ping(&mut running, n);
        }
        // Several lines at once, one of which goes nowhere, keep their order too.
        for n in (2000..5000).step_by(3) {
            running.send(&format!("{{\"n\":{n}}}\n{{\"n\":-1}}\n{{\"n\":{}}}\n", n + 1));
            assert_eq!(running.line(), format!("{{\"n\":{n}}}"), "{options:?}");
            assert_eq!(running.line(), format!("{{\"n\":{}}}", n + 1), "{options:?}");
        }
        // Half a line is no record before its end has come.
        running.send("{\"n\"");
        running.send(":6}\n");
        assert_eq!(running.line(), "{\"n\":6}", "{options:?}");
    }
}

#[test]
fn the_end_of_the_input_ends_the_run() {
    let scene = Scene::new();
    let mut running = start(&scene, &["--cores", "3"]);
    ping(&mut running, 1);
    running.send("{\"n\":2}");
    running.close();
    let ended = running.wait();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "{\"n\":1}\n{\"n\":2}\n"), "{}", ended.stderr);
}

#[test]
fn windows_of_a_live_input_fire_as_time_passes_in_it() {
    for shards in ["1", "2", "3"] {
        let scene = Scene::new();
        let pipeline = FILTER
            .replace("{ n: BIGINT NOT NULL }", "{ n: BIGINT NOT NULL, at: TIMESTAMP(3) }\n  event_time: { column: at }")
            .replace("filter: n >= 0", "aggregate: { name: w, by: n, window: { tumbling: 1s }, select: { rows: COUNT(*) } }\n  - select: { n: n, rows: rows }");
        let mut running = Watched::start(&mut scene.pipeline(&pipeline, &["--cores", shards]));
        running
            .send("{\"n\":1,\"at\":\"2026-01-01T00:00:00\"}\n{\"n\":1,\"at\":\"2026-01-01T00:00:00.5\"}\n");
        for second in 1..20 {
            let line = format!("{{\"n\":{second},\"at\":\"2026-01-01T00:00:{second:02}\"}}\n");
            running.send(&line);
            let (n, rows) = if second == 1 { (1, 2) } else { (second - 1, 1) };
            assert_eq!(running.line(), format!("{{\"n\":{n},\"rows\":{rows}}}"), "{shards} shards");
        }
        running.close();
        assert_eq!(running.line(), "{\"n\":19,\"rows\":1}");
        assert_eq!(running.wait().code, Some(0));
    }
}

/// The time a process has spent on CPUs, user and system, all threads.
fn cpu_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process is there");
    // The name, in parentheses, may hold anything; utime and stime are the 14th and 15th fields of the line.
    let fields: Vec<&str> =
        stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
    // Linux tells these in hundredths of a second whatever the machine.
    Duration::from_millis(ticks * 10)
}

#[test]
fn an_idle_pipeline_costs_nothing() {
    for options in [&["--cores", "2"][..], &["--cores", "2", "--io", "threads"]] {
        let scene = Scene::new();
        let mut running = start(&scene, options);
        ping(&mut running, 1);
        let (before, started) = (cpu_time(running.id()), Instant::now());
        thread::sleep(Duration::from_secs(3));
        let (spent, elapsed) = (cpu_time(running.id()).saturating_sub(before), started.elapsed());
        // The goal is 1 %; /proc counts in steps of 10 ms, which is 0.3 % of three seconds for each of the five threads
        // it may be rounded up on, so 3 % cannot be missed by rounding. A shard that spins costs 100 %.
        assert!(spent < elapsed * 3 / 100, "{options:?}: {spent:?} of {elapsed:?}");
        ping(&mut running, 2);
    }
}

/// The names of a process's threads, each with the CPUs it may run on.
fn threads(id: u32) -> Vec<(String, String)> {
    let tasks = fs::read_dir(format!("/proc/{id}/task")).expect("the process is there");
    let statuses = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a field");
        line.trim().to_owned()
    };
    statuses.map(|status| (field(&status, "Name:"), field(&status, "Cpus_allowed_list:"))).collect()
}

/// The threads of the shards; glommio gives each of its executors a second thread, of the same name and on the same CPU.
fn shards(id: u32) -> Vec<(String, String)> {
    let mut shards: Vec<_> = threads(id).into_iter().filter(|(name, _)| name.starts_with("shard-")).collect();
    shards.sort();
    shards.dedup();
    shards
}

/// How many rings of io_uring a process has.
fn rings(id: u32) -> usize {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("the process is there");
    let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("io_uring")).count()
}

#[test]
fn each_shard_has_a_cpu_and_a_ring_of_its_own() {
    let cpus = millstream::io::available_cpus();
    let uring = millstream::io::probe_io_uring();
    if let Err(cause) = &uring {
        skipped(&format!("no ring is looked for: {cause}"));
    }
    for count in 1..=cpus.len().min(4) {
        for io in ["auto", "threads"] {
            let scene = Scene::new();
            let mut running = start(&scene, &["--cores", &count.to_string(), "--io", io]);
            ping(&mut running, 1);
            // A line may be through before the last of the threads has begun, found its CPU, and made its ring.
            let (id, has_rings) = (running.id(), io == "auto" && uring.is_ok());
            let is_pinned = |(_, list): &(String, String)| list.parse::<usize>().is_ok();
            running.until("its threads on a CPU each", || {
                let found = shards(id);
                found.len() == count && found.iter().all(is_pinned) && (!has_rings || rings(id) >= count)
            });
            let found = shards(id);
            let names: Vec<String> = (0..count).map(|number| format!("shard-{number}")).collect();
            assert!(found.iter().map(|(name, _)| name).eq(&names), "{found:?}");
            let mut own: Vec<usize> = found
                .iter()
                .map(|(name, list)| list.parse().unwrap_or_else(|_| panic!("{name} may run on {list}")))
                .collect();
            own.sort_unstable();
            own.dedup();
            assert_eq!(own.len(), count, "{found:?}");
            assert!(own.iter().all(|cpu| cpus.contains(cpu)), "{found:?}, not of {cpus:?}");
            assert!(has_rings || rings(id) == 0, "{} rings", rings(id));
        }
    }
}

#[test]
fn one_allowed_cpu_makes_one_shard() {
    if Command::new("taskset").arg("--version").output().is_err() {
        skipped("there is no taskset to take CPUs away with");
        return;
    }
    let cpu = millstream::io::available_cpus().last().expect("a CPU").to_string();
    let scene = Scene::new();
    let file = scene.write("pipeline.yaml", FILTER);
    let state = scene.path("state");
    let program = env!("CARGO_BIN_EXE_millstream");
    let mut running = Watched::start(Command::new("taskset").args([
        "-c",
        &cpu,
        program,
        "run",
        &file,
        "--state-dir",
        &state,
    ]));
    ping(&mut running, 1);
    assert_eq!(shards(running.id()), [("shard-0".to_owned(), cpu)]);
}

#[test]
fn windows_of_the_wall_clock_close_although_nothing_comes() {
    for shards in ["1", "3"] {
        let scene = Scene::new();
        let pipeline = FILTER.replace(
            "filter: n >= 0",
            "aggregate: { name: w, by: n, window: { tumbling: 200ms, time: processing }, select: { rows: COUNT(*) } }\n  - select: { n: n, rows: rows }",
        );
        let mut running = Watched::start(&mut scene.pipeline(&pipeline, &["--cores", shards]));
        for n in 1..4 {
            running.send(&format!("{{\"n\":{n}}}\n"));
            assert_eq!(running.line(), format!("{{\"n\":{n},\"rows\":1}}"), "{shards} shards");
        }
        running.close();
        assert_eq!(running.wait().code, Some(0));
        // Rows that are made slowly keep the clock's windows going too.
        let made = pipeline.replace("stdin:", "generator: { rate: 1 per 1h, columns: { n: n } }");
        let made = made.replace("  format: json\n  schema: { n: BIGINT NOT NULL }\n", "");
        let mut running = Watched::start(&mut scene.pipeline(&made, &["--cores", shards]));
        assert_eq!(running.line(), "{\"n\":0,\"rows\":1}");
        running.signal("TERM");
        assert_eq!(running.wait().code, Some(0));
    }
}
