//! Lookups through the built program: tables of each format, both kinds, NULL and compound keys, versions, tables that
//! change while the program runs, and tables that cannot be had.

use std::fs;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, Watched, file_to_file, sorted};

const ORDERS: &str =
    "  schema: { id: BIGINT NOT NULL, customer: STRING, country: STRING, \"at\": TIMESTAMP(3) }";

/// Runs these steps over these orders with these tables on 1, 2 and 3 shards, and compares the rows.
fn check(scene: &Scene, tables: &str, steps: &str, orders: &[&str], expect: &[&str]) {
    scene.write("in.ndjson", orders.join("\n"));
    let pipeline = file_to_file(ORDERS, &format!("steps:\n{steps}")) + tables;
    for cores in ["1", "2", "3"] {
        let output = scene.output(&pipeline, &["--cores", cores, "--fresh"]);
        let mut expect = expect.to_vec();
        expect.sort_unstable();
        assert_eq!(sorted(&output), expect, "{cores} shards: {steps}");
    }
}

/// The table `customers` of a file.
fn customers(file: &str, format: &str) -> String {
    format!(
        "tables:\n  customers:\n    file: {{ path: {file} }}\n    format: {format}\n    \
         schema: {{ id: STRING NOT NULL, segment: STRING, credit: \"DECIMAL(10, 2)\" }}\n    key: id\n"
    )
}

const SOME_ORDERS: &[&str] = &[
    r#"{"id":1,"customer":"ada"}"#,
    r#"{"id":2,"customer":"bob"}"#,
    r#"{"id":3,"customer":"zoe"}"#,
    r#"{"id":4,"customer":null}"#,
];

#[test]
fn rows_of_csv_and_json_are_found() {
    let scene = Scene::new();
    scene.write("c.csv", "segment,unused,id,credit\ngold,x,ada,10.50\n,y,bob,\n");
    scene.write(
        "c.ndjson",
        "{\"id\":\"ada\",\"segment\":\"gold\",\"credit\":10.5,\"more\":[1]}\n{\"id\":\"bob\"}\n",
    );
    for tables in [customers("c.csv", "csv"), customers("c.ndjson", "json")] {
        let lookup = "  - lookup: { table: customers, match: customers.id = customer";
        check(
            &scene,
            &tables,
            &format!(
                "{lookup} }}\n  - select: {{ id: id, segment: customers.segment, credit: customers.credit }}"
            ),
            SOME_ORDERS,
            &[r#"{"id":1,"segment":"gold","credit":10.50}"#, r#"{"id":2,"segment":null,"credit":null}"#],
        );
        check(
            &scene,
            &tables,
            &format!(
                "{lookup}, kind: left }}\n  - select: {{ id: id, segment: \"COALESCE(customers.segment, 'none')\", known: customers IS NOT NULL }}"
            ),
            SOME_ORDERS,
            &[
                r#"{"id":1,"segment":"gold","known":true}"#,
                r#"{"id":2,"segment":"none","known":true}"#,
                r#"{"id":3,"segment":"none","known":false}"#,
                r#"{"id":4,"segment":"none","known":false}"#,
            ],
        );
        // The whole row, and none of it.
        check(
            &scene,
            &tables,
            &format!("{lookup} }}\n  - drop: [country, \"at\"]"),
            &SOME_ORDERS[..1],
            &[r#"{"id":1,"customer":"ada","customers":{"id":"ada","segment":"gold","credit":10.50}}"#],
        );
        check(
            &scene,
            &tables,
            &format!("{lookup} }}\n  - select: {{ id: id }}"),
            SOME_ORDERS,
            &[r#"{"id":1}"#, r#"{"id":2}"#],
        );
    }
}

#[test]
fn keys_of_several_columns_and_expressions() {
    let scene = Scene::new();
    scene.write(
        "t.csv",
        "day,country,n,text\n2026-01-01,DE,1,a\n2026-01-02,DE,1,b\n2026-01-01,DE,2,c\n2026-01-01,,1,d\n",
    );
    let tables = "tables:\n  t:\n    file: { path: t.csv, watch: false }\n    format: csv\n    \
                  schema: { n: INT, day: DATE, country: STRING, text: STRING }\n    key: [country, day, n]\n";
    check(
        &scene,
        tables,
        "  - lookup: { table: t, match: \"t.n = MOD(id, 10) AND UPPER(country) = t.country AND t.day = CAST(`at` AS DATE)\", kind: left }\n  - select: { id: id, text: t.text }",
        &[
            r#"{"id":11,"country":"de","at":"2026-01-01T12:00:00"}"#,
            r#"{"id":1,"country":"DE","at":"2026-01-02T00:00:00"}"#,
            r#"{"id":12,"country":"DE","at":"2026-01-01T23:59:59.999"}"#,
            r#"{"id":12,"country":"DE","at":"2026-01-02T00:00:00"}"#,
            r#"{"id":1,"country":null,"at":"2026-01-01T00:00:00"}"#,
        ],
        &[
            r#"{"id":11,"text":"a"}"#,
            r#"{"id":1,"text":"b"}"#,
            r#"{"id":12,"text":"c"}"#,
            r#"{"id":12,"text":null}"#,
            r#"{"id":1,"text":null}"#,
        ],
    );
}

#[test]
fn versions_of_rows_by_time() {
    let scene = Scene::new();
    scene.write("c.csv", "id,segment,since\nada,new,2026-01-01T00:00:00\nada,gold,2026-02-01T00:00:00\nada,old,2025-01-01T00:00:00\n");
    let tables = "tables:\n  c:\n    file: { path: c.csv }\n    format: csv\n    \
                  schema: { id: STRING, segment: STRING, since: TIMESTAMP(3) }\n    key: id\n    versions: { from: since }\n";
    let orders = [
        r#"{"id":1,"customer":"ada","at":"2024-12-31T00:00:00"}"#,
        r#"{"id":2,"customer":"ada","at":"2025-06-01T00:00:00"}"#,
        r#"{"id":3,"customer":"ada","at":"2026-01-01T00:00:00"}"#,
        r#"{"id":4,"customer":"ada","at":"2026-02-03T00:00:00"}"#,
        r#"{"id":5,"customer":"bob","at":"2026-02-03T00:00:00"}"#,
    ];
    let step = |options: &str| {
        format!(
            "  - lookup: {{ table: c, match: c.id = customer{options} }}\n  - select: {{ id: id, segment: c.segment }}"
        )
    };
    let of_time =
        [r#"{"id":2,"segment":"old"}"#, r#"{"id":3,"segment":"new"}"#, r#"{"id":4,"segment":"gold"}"#];
    check(&scene, tables, &step(", as_of: \"`at`\""), &orders, &of_time);
    let none = [r#"{"id":1,"segment":null}"#, r#"{"id":5,"segment":null}"#];
    check(&scene, tables, &step(", as_of: \"`at`\", kind: left"), &orders, &[&of_time[..], &none].concat());
    let latest = [1, 2, 3, 4].map(|id| format!("{{\"id\":{id},\"segment\":\"gold\"}}"));
    check(&scene, tables, &step(""), &orders, &latest.each_ref().map(String::as_str));
}

#[test]
fn a_graph_has_tables_too() {
    let scene = Scene::new();
    scene.write("c.ndjson", "{\"id\":\"ada\",\"segment\":\"gold\"}\n");
    scene.write("in.ndjson", SOME_ORDERS.join("\n"));
    let pipeline = format!(
        "millstream: 1\nname: graph\n{}sources:\n  orders:\n    file: {{ path: in.ndjson }}\n    format: json\n    schema: {{ id: BIGINT, customer: STRING }}\n\
         streams:\n  known:\n    from: orders\n    steps:\n      - lookup: {{ table: customers, match: customers.id = customer, kind: left }}\n      - route: {{ cases: {{ rich: customers.segment = 'gold' }}, otherwise: rest }}\n  \
         names:\n    from: known.rest\n    steps:\n      - lookup: {{ table: customers, match: customers.id = 'ada' }}\n      - select: {{ id: id, s: customers.segment }}\n\
         sinks:\n  out:\n    from: known.rich\n    file: {{ path: out.ndjson }}\n    format: json\n  rest:\n    from: names\n    file: {{ path: rest.ndjson }}\n    format: json\n",
        customers("c.ndjson", "json")
    )
    .replace("      - lookup: { table: customers, match: customers.id = 'ada' }", "      - drop: customers\n      - lookup: { table: customers, match: customers.id = 'ada' }");
    let output = scene.output(&pipeline, &["--cores", "2"]);
    assert_eq!(
        output,
        "{\"id\":1,\"customer\":\"ada\",\"customers\":{\"id\":\"ada\",\"segment\":\"gold\",\"credit\":null}}\n"
    );
    assert_eq!(scene.read("rest.ndjson").lines().count(), 3);
    assert!(scene.read("rest.ndjson").lines().all(|line| line.ends_with("\"s\":\"gold\"}")));
}

const LIVE: &str = "millstream: 1
name: live
tables:
  broken:
    file: { path: broken.csv }
    format: csv
    schema: { id: BIGINT, text: STRING NOT NULL }
    key: id
  t:
    file: { path: t.csv }
    format: csv
    schema: { id: BIGINT, text: STRING }
    key: id
  still:
    file: { path: still.csv, watch: false }
    format: csv
    schema: { id: BIGINT, text: STRING }
    key: id
source:
  stdin:
  format: json
  schema: { n: BIGINT NOT NULL }
steps:
  - lookup: { table: t, match: t.id = n, kind: left }
  - lookup: { table: broken, match: broken.id = n, kind: left }
  - lookup: { table: still, match: still.id = n, kind: left }
  - select: { t: t.text, broken: broken.text, still: still.text }
sink:
  stdout:
  format: json
";

fn ping(running: &mut Watched) -> String {
    running.send("{\"n\":1}\n");
    running.line()
}

fn until(running: &mut Watched, expect: &str) {
    let started = std::time::Instant::now();
    loop {
        let line = ping(running);
        if line == expect {
            return;
        }
        assert!(started.elapsed() < scene::LIMIT, "{line}, not {expect}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_table_that_changes_is_read_again() {
    let scene = Scene::new();
    for name in ["t.csv", "broken.csv", "still.csv"] {
        scene.write(name, "id,text\n1,one\n");
    }
    let mut running = Watched::start(&mut scene.pipeline(LIVE, &["--cores", "2"]));
    assert_eq!(ping(&mut running), r#"{"t":"one","broken":"one","still":"one"}"#);
    // What is wrong is told before what is right is taken: the tables are looked at in the order of the page.
    scene.write("still.csv", "id,text\n1,two\n");
    scene.write("broken.csv", "id,text\n1,two\n2,\n");
    scene.write("t.csv", "id,text\n1,two\n");
    until(&mut running, r#"{"t":"two","broken":"one","still":"one"}"#);
    // Replaced by a file of the same length.
    scene.write("new.csv", "id,text\n1,six\n");
    fs::rename(scene.path("new.csv"), scene.path("t.csv")).expect("a file");
    until(&mut running, r#"{"t":"six","broken":"one","still":"one"}"#);
    fs::remove_file(scene.path("t.csv")).expect("a file");
    scene.write("broken.csv", "id,text\n1,two\n");
    until(&mut running, r#"{"t":"six","broken":"two","still":"one"}"#);
    scene.write("t.csv", "id,text\n2,ten\n");
    until(&mut running, r#"{"t":null,"broken":"two","still":"one"}"#);
    running.close();
    let ended = running.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let told = |text: &str| ended.stderr.matches(text).count();
    assert_eq!(
        told("the table `broken` keeps the rows it has: failed to load the table `broken`: broken.csv:3: "),
        1,
        "{}",
        ended.stderr
    );
    assert_eq!(
        told("the table `t` keeps the rows it has: t.csv is not there any more"),
        1,
        "{}",
        ended.stderr
    );
}

#[test]
fn tables_that_cannot_be_had() {
    let scene = Scene::new();
    scene.write("in.ndjson", SOME_ORDERS.join("\n"));
    let steps = "steps:\n  - lookup: { table: customers, match: customers.id = customer }";
    let pipeline = file_to_file(ORDERS, steps) + &customers("c.csv", "csv");
    let check = |content: Option<&str>, code: i32, told: &str| {
        if let Some(content) = content {
            scene.write("c.csv", content);
        }
        let ended = scene.run(&pipeline, &["--fresh"]);
        assert_eq!(ended.code, Some(code), "{content:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{content:?}: {}", ended.stderr);
        assert_eq!(scene.exists("out.ndjson"), code == 0, "{content:?}");
    };
    check(None, 69, "error: failed to read the table `customers` from c.csv: ");
    check(Some(""), 65, "error: failed to load the table `customers`: c.csv: it is empty");
    check(Some("id\nada\n\"bob\n"), 65, "c.csv:3: ");
    check(Some("id,segment\nada,x\n,y\n"), 65, "c.csv:3: ");
    check(Some("segment\nx\n"), 65, "c.csv: its header lacks the column `id`, which is NOT NULL");
    check(Some("id,credit\nada,much\n"), 65, "c.csv:2: ");
    check(
        Some("id,segment,credit\nada,a,1\nbob,b,1\nada,c,1\n"),
        0,
        "the table `customers`: 1 rows have the key of a later row",
    );
    assert!(scene.read("out.ndjson").contains(r#""customers":{"id":"ada","segment":"c","credit":1.00}"#));
}

#[test]
fn explain_shows_tables() {
    let scene = Scene::new();
    let steps = "steps:\n  - lookup: { table: customers, match: customers.id = customer, kind: left }";
    let file = scene.write("p.yaml", file_to_file(ORDERS, steps) + &customers("c.csv", "csv"));
    let ended = scene::end(&mut scene.program(&["explain", &file]));
    for line in [
        "table    customers: file c.csv, read when the run starts and when it changes\n",
        "  columns: id STRING NOT NULL, segment STRING, credit DECIMAL(10, 2)\n",
        "  key: id\n",
        "  lookup (left) customers where customers.id = customer, as the table is when the row comes: in a replay rows differ where the file has changed meanwhile\n",
    ] {
        assert!(ended.stdout.contains(line), "{line}: {}", ended.stdout);
    }
}

/// What q13 makes of events, worked out row by row.
fn enriched(events: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for line in events.lines() {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event");
        let Some(bid) = event.get("bid") else { continue };
        let auction = bid["auction"].as_u64().expect("an id");
        let (bidder, price) = (&bid["bidder"], &bid["price"]);
        // Sinks write of a second's fraction only what is not zero.
        let time = bid["dateTime"].as_str().expect("a time");
        let time = time.trim_end_matches('0').trim_end_matches('.');
        let time =
            if time.len() < "2015-07-15T00:00:00".len() { format!("{time:0<19}") } else { time.to_owned() };
        let value = auction % 10_000;
        rows.push(format!(
            "{{\"auction\":{auction},\"bidder\":{bidder},\"price\":{price},\"dateTime\":\"{time}\",\"value\":\"{value}\"}}"
        ));
    }
    rows.sort_unstable();
    rows
}

#[test]
fn nexmark_q13() {
    let scene = Scene::new();
    let events = ["gen", "nexmark", "--events", "50000", "--out", "in.ndjson", "--side", "side.csv"];
    let made = scene::end(&mut scene.program(&events));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert_eq!(scene.read("side.csv").lines().count(), 10_001);
    let expect = enriched(&scene.read("in.ndjson"));
    assert_eq!(expect.len(), 46_000);
    let file = scene::repository("pipelines/nexmark/q13.yaml");
    for cores in ["1", "2", "3"] {
        let arguments =
            ["run", file.to_str().expect("UTF-8"), "--state-dir", "state", "--fresh", "--cores", cores];
        let mut run = scene.program(&arguments);
        run.env("NEXMARK_INPUT", "in.ndjson")
            .env("NEXMARK_TABLE", "side.csv")
            .env("NEXMARK_OUTPUT", "out.ndjson");
        let ended = scene::end(&mut run);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let output = scene.read("out.ndjson");
        for (found, expect) in sorted(&output).iter().zip(&expect) {
            assert_eq!(found, expect, "{cores} shards");
        }
        assert_eq!(output.lines().count(), expect.len(), "{cores} shards");
    }
}
