//! Records that say the same in other words give the same rows: the decoder predicts how a record is written, and
//! must not be wrong when one is written otherwise.

use std::fmt::Write;

use serde_json::{Map, Value};

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, end, repository};

/// Bids and others, with texts that look like the fields around them.
fn events(random: &mut fastrand::Rng) -> Vec<Value> {
    let texts = [
        "plain",
        "\"price\":999999,",
        "{\"bid\":{\"auction\":1}}",
        "\\\"},{",
        "event_type",
        "é\u{1F600}\t\u{7f}",
        "line\nbreak\r\n",
        "",
        "}}]]",
        "\\u0022",
    ];
    let mut events = Vec::new();
    for n in 0..4000_i64 {
        let mut text = || Value::from(texts[random.usize(0..texts.len())]);
        let time = format!("2026-01-01T00:{:02}:{:02}.{:03}", n / 1200, n / 20 % 60, n % 20 * 50);
        let mut event = Map::new();
        let (kind, name, mut fields) = match n % 10 {
            0 => (0, "person", Map::from_iter([("id".to_owned(), n.into()), ("name".to_owned(), text())])),
            1 => {
                (1, "auction", Map::from_iter([("id".to_owned(), n.into()), ("itemName".to_owned(), text())]))
            }
            _ => {
                let mut bid = Map::new();
                bid.insert("auction".into(), (n * 7 % 13).into());
                bid.insert("bidder".into(), if n % 17 == 0 { Value::Null } else { (n % 5).into() });
                bid.insert("price".into(), if n % 19 == 0 { Value::Null } else { (n * 1001 - 5).into() });
                bid.insert("channel".into(), text());
                bid.insert("url".into(), text());
                bid.insert("extra".into(), text());
                (2, "bid", bid)
            }
        };
        fields.insert("dateTime".into(), time.into());
        event.insert("event_type".into(), kind.into());
        event.insert(name.into(), fields.into());
        events.push(Value::Object(event));
    }
    events
}

/// Writes a value in one of the ways in which it can be written.
struct Writer {
    random: fastrand::Rng,
    out: String,
}

impl Writer {
    fn blank(&mut self) {
        for _ in 0..self.random.usize(0..3) {
            self.out.push([' ', '\t', ' ', '\r'][self.random.usize(0..4)]);
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let must = c == '"' || c == '\\' || (c as u32) < 0x20;
            if !must && self.random.u8(0..6) > 0 {
                self.out.push(c);
                continue;
            }
            // As \u escapes, of which characters beyond the first plane need two.
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let digits = format!("{unit:04x}");
                let digits = if self.random.bool() { digits.to_uppercase() } else { digits };
                write!(self.out, "\\u{digits}").expect("a string");
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, value: &Value) {
        self.blank();
        match value {
            Value::Object(entries) => self.object(entries),
            Value::String(text) => self.text(text),
            other => write!(self.out, "{other}").expect("a string"),
        }
        self.blank();
    }

    fn object(&mut self, entries: &Map<String, Value>) {
        let mut entries: Vec<(String, Option<Value>)> =
            entries.iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect();
        // What is null may as well be missing, and what is missing may be null.
        if self.random.bool() {
            entries.retain(|(_, value)| *value != Some(Value::Null));
        }
        if entries.iter().any(|(key, _)| key == "event_type") {
            for branch in ["person", "auction", "bid"] {
                if self.random.bool() && entries.iter().all(|(key, _)| key != branch) {
                    entries.push((branch.to_owned(), Some(Value::Null)));
                }
            }
        }
        for _ in 0..self.random.usize(0..3) {
            entries
                .push((["unknown", "Price", "bid2", "", "x\"y"][self.random.usize(0..5)].to_owned(), None));
        }
        self.random.shuffle(&mut entries);
        self.out.push('{');
        self.blank();
        for (n, (key, value)) in entries.iter().enumerate() {
            if n > 0 {
                self.out.push(',');
                self.blank();
            }
            self.text(key);
            self.blank();
            self.out.push(':');
            match value {
                Some(value) => self.value(value),
                None => self.unknown(),
            }
        }
        self.out.push('}');
    }

    /// A value of a field that nobody asks for, full of names that somebody does ask for.
    fn unknown(&mut self) {
        let values = [
            r#"{"price":7,"bid":{"auction":[1,{"price":"\"}"}]},"dateTime":"never"}"#,
            r#"[[],{},"]",[{"event_type":0}]]"#,
            "-0.5e-7",
            "true",
            "null",
            r#""\"event_type\":0,\"bid\":null}""#,
        ];
        self.out.push_str(values[self.random.usize(0..values.len())]);
    }
}

fn output(scene: &Scene, query: &str, input: &str, shards: &str) -> String {
    let file = repository(&format!("pipelines/nexmark/{query}.yaml"));
    let file = file.to_str().expect("UTF-8");
    let mut command = scene.program(&["run", file, "--state-dir", "state", "--cores", shards]);
    let ended = end(command.env("NEXMARK_INPUT", input).env("NEXMARK_OUTPUT", "out.ndjson"));
    assert_eq!(ended.code, Some(0), "{query}: {}", ended.stderr);
    assert!(ended.stderr.contains(" 0 quarantined,"), "{query}: {}", ended.stderr);
    scene.read("out.ndjson")
}

#[test]
fn other_words_give_the_same_rows() {
    let scene = Scene::new();
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let events = events(&mut random);
        let plain: String = events.iter().map(|event| format!("{event}\n")).collect();
        scene.write("plain.ndjson", &plain);
        let mut writer = Writer { random, out: String::new() };
        for (n, event) in events.iter().enumerate() {
            // Now and then a plain one, so that what is predicted is right for a while and then is not.
            if seed % 2 == 0 && n % 7 < 4 {
                writeln!(writer.out, "{event}").expect("a string");
            } else {
                writer.value(event);
                writer.out.push('\n');
            }
        }
        scene.write("other.ndjson", &writer.out);
        for (query, least) in [("q1", 1000), ("q5", 50), ("q11", 5), ("q17", 10), ("qt", 100)] {
            let expect = output(&scene, query, "plain.ndjson", "1");
            assert!(expect.lines().count() >= least, "{query}: {} rows", expect.lines().count());
            let found = output(&scene, query, "other.ndjson", if seed % 3 == 0 { "3" } else { "1" });
            let (found, expect) = (scene::sorted(&found), scene::sorted(&expect));
            for (found, expect) in found.iter().zip(&expect) {
                assert_eq!(found, expect, "seed {seed}, {query}");
            }
            assert_eq!(found.len(), expect.len(), "seed {seed}, {query}");
        }
    }
}
