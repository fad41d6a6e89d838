//! The four pipelines that the language was designed by, with files in the place of brokers, databases and web hooks
//! (`examples/*.yaml`), run on inputs that are small enough to work their rows out by hand.

use std::fs;

#[allow(dead_code, reason = "every file of tests uses a part of the scene")]
mod scene;

use scene::{Scene, end, repository, sorted};

/// Runs an example on these inputs, on several numbers of shards, and holds its outputs against these rows, in any order;
/// what else there is to see each time is for `and_more`.
fn check(name: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)], and_more: impl Fn(&Scene)) {
    for shards in ["1", "2", "3"] {
        let scene = Scene::new();
        fs::create_dir(scene.path("common")).expect("a folder");
        for file in [name, "common/tables.yaml"] {
            scene.write(file, fs::read(repository(&format!("tests/examples/{file}"))).expect("a file"));
        }
        for (file, text) in inputs {
            scene.write(file, text);
        }
        let checked = end(&mut scene.program(&["check", name]));
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert!(checked.stderr.ends_with(&format!("{name}: ok\n")), "{}", checked.stderr);
        let ended = end(&mut scene.program(&["run", name, "--cores", shards, "--state-dir", "state"]));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for (file, rows) in outputs {
            let rows: Vec<&str> = rows.lines().map(str::trim).filter(|row| !row.is_empty()).collect();
            let rows = rows.join("\n");
            assert_eq!(
                sorted(&scene.read(file)),
                sorted(&rows),
                "{file} of {shards} shards; {}",
                ended.stderr
            );
        }
        and_more(&scene);
    }
}

#[test]
fn user_spend() {
    // u1 spends 110 from :01 to :09, which every window has that begins at :01 or before; u2 spends 40, 70 and 60, of
    // which two together reach 100. The last record comes two minutes after its window.
    let payments = r#"
{"user_id":"u1","status":"paid","amount":"60.00","paid_at":"2026-01-01T00:00:01Z"}
{"user_id":"u1","status":"failed","amount":"99.00","paid_at":"2026-01-01T00:00:02Z"}
{"user_id":"u2","status":"paid","amount":40,"paid_at":"2026-01-01T00:00:05Z"}
{"user_id":"u1","status":"paid","amount":"50.00","paid_at":"2026-01-01T00:00:09Z"}
{"user_id":"u1","status":"paid","amount":"a lot","paid_at":"2026-01-01T00:00:10Z"}
{"user_id":"u2","status":"paid","amount":60,"paid_at":"2026-01-01T00:01:02Z"}
{"user_id":"u2","status":"paid","amount":70.00,"paid_at":"2026-01-01T00:00:58Z"}
{"user_id":"u1","status":"paid","amount":"30.00","paid_at":"2026-01-01T00:01:05Z"}
{"user_id":"u3","status":"paid","amount":"-500.00","paid_at":"2026-01-01T00:01:06Z"}
{"user_id":"u3","status":"paid","amount":"1.00","paid_at":"2026-01-01T00:03:00Z"}
{"user_id":"u1","status":"paid","amount":"500.00","paid_at":"2026-01-01T00:00:03Z"}
"#;
    let expect = r#"
{"user_id":"u1","window_start":"2025-12-31T23:59:10Z","window_end":"2026-01-01T00:00:10Z","total":110.00,"payments":2}
{"user_id":"u1","window_start":"2025-12-31T23:59:20Z","window_end":"2026-01-01T00:00:20Z","total":110.00,"payments":2}
{"user_id":"u1","window_start":"2025-12-31T23:59:30Z","window_end":"2026-01-01T00:00:30Z","total":110.00,"payments":2}
{"user_id":"u1","window_start":"2025-12-31T23:59:40Z","window_end":"2026-01-01T00:00:40Z","total":110.00,"payments":2}
{"user_id":"u1","window_start":"2025-12-31T23:59:50Z","window_end":"2026-01-01T00:00:50Z","total":110.00,"payments":2}
{"user_id":"u1","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","total":110.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T00:01:00Z","total":110.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:10Z","window_end":"2026-01-01T00:01:10Z","total":130.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:20Z","window_end":"2026-01-01T00:01:20Z","total":130.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:30Z","window_end":"2026-01-01T00:01:30Z","total":130.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:40Z","window_end":"2026-01-01T00:01:40Z","total":130.00,"payments":2}
{"user_id":"u2","window_start":"2026-01-01T00:00:50Z","window_end":"2026-01-01T00:01:50Z","total":130.00,"payments":2}
"#;
    let bad = |scene: &Scene| assert_eq!(scene.quarantine().len(), 1);
    check(
        "1-user-spend.yaml",
        &[("payments.ndjson", payments.trim_start())],
        &[("user-spend-1m.ndjson", expect)],
        bad,
    );
}

#[test]
fn http_events() {
    let events = r#"{"event_id":"e1","type":"order.created","user_id":"ann","amount":499.99,"at":"2026-01-01T10:00:00Z"}
{"event_id":"e2","type":"order.created","user_id":"bob","amount":500,"at":"2026-01-01T10:00:01Z"}
{"event_id":"e1","type":"order.created","user_id":"ann","amount":499.99,"at":"2026-01-01T10:00:02Z"}
{"event_id":"e3","type":"user.invited","user_id":"cid","at":"2026-01-01T10:00:03Z"}
{"event_id":"e4","type":"user.left","user_id":"dan","at":"2026-01-01T10:00:04Z"}
{"event_id":"e5","type":"user.left"
{"event_id":"e6","type":"page.seen","user_id":null,"at":"2026-01-02T00:00:00Z"}
{"event_id":"e7","type":"user.created","at":"2026-01-02T00:00:01Z","user_id":"eve"}
{"event_id":"e1","type":"order.created","user_id":"ann","amount":1,"at":"2026-01-02T00:00:02Z"}
"#;
    let orders = "
event_id,type,user_id,amount,at
e1,order.created,ann,499.99,2026-01-01T10:00:00Z
e2,order.created,bob,500.00,2026-01-01T10:00:01Z
e1,order.created,ann,1.00,2026-01-02T00:00:02Z
";
    // The hash is that of `printf bob | sha256sum`.
    let alerts = r#"{"event_id":"e2","type":"order.created","amount":500.00,"at":"2026-01-01T10:00:01Z","user_hash":"81b637d8fcd2c6da6359e6963113a1170de795e4b725b84d1e0b4cfd9ec58ce9"}"#;
    let signups = r#"
{"event_id":"e3","type":"user.invited","user_id":"cid","amount":null,"at":"2026-01-01T10:00:03Z"}
{"event_id":"e7","type":"user.created","user_id":"eve","amount":null,"at":"2026-01-02T00:00:01Z"}
"#;
    let others = |scene: &Scene| {
        for (day, id) in [("2026-01-01", "e4"), ("2026-01-02", "e6")] {
            let files = scene.names(&format!("archive/{day}"));
            assert_eq!(files.len(), 1, "{files:?}");
            assert!(
                scene
                    .read(&format!("archive/{day}/{}", files[0]))
                    .contains(&format!("\"event_id\":\"{id}\""))
            );
        }
        let rejected = scene.read("events-rejected.ndjson");
        let at = events.find("{\"event_id\":\"e5\"").expect("the broken record");
        let raw = r#"{"raw":"{\"event_id\":\"e5\",\"type\":\"user.left\"","raw_encoding":null"#;
        let start = format!(
            "{raw},\"source\":\"events.ndjson\",\"position\":{at},\"error\":\"decode\",\"message\":\""
        );
        assert!(rejected.starts_with(&start) && rejected.lines().count() == 1, "{rejected}");
        assert!(scene.quarantine().is_empty());
    };
    let outputs = [("orders.csv", orders), ("alerts.ndjson", alerts), ("signups.ndjson", signups)];
    check("2-http-events.yaml", &[("events.ndjson", events)], &outputs, others);
}

#[test]
fn enrich_join() {
    // o1 is paid in full, o2 in part, o3 after more than two hours, o4 not at all, o5 twice, in full the second time; o6 is
    // of nobody known. o7 comes behind an order of four hours later, and is not late: the payments, which are read next,
    // hold the watermark back. A pair has the later time of its two rows, so that of o5 counts at 03:20.
    let orders = "order_id,customer_id,total,created_at
o1,c1,100.00,2026-01-01T00:10:00Z
o2,c2,50.00,2026-01-01T00:20:00Z
o3,c1,70.00,2026-01-01T00:30:00Z
o4,c2,20.00,2026-01-01T01:10:00Z
o5,c1,30.00,2026-01-01T01:20:00Z
o6,c9,40.00,2026-01-01T01:30:00Z
o8,c1,1.00,2026-01-01T05:00:00Z
o7,c1,60.00,2026-01-01T00:40:00Z
";
    let payments = r#"{"order_id":"o1","paid":100.00,"paid_at":"2026-01-01T00:11:00Z"}
{"order_id":"o2","paid":49.99,"paid_at":"2026-01-01T00:21:00Z"}
{"order_id":"o5","paid":10,"paid_at":"2026-01-01T01:20:00Z"}
{"order_id":"o6","paid":"40.00","paid_at":"2026-01-01T01:31:00Z"}
{"order_id":"o3","paid":70.00,"paid_at":"2026-01-01T02:30:00.001Z"}
{"order_id":"o5","paid":30.00,"paid_at":"2026-01-01T03:20:00Z"}
{"order_id":"o8","paid":1.00,"paid_at":"2026-01-01T05:00:00Z"}
"#;
    let customers = "id,segment,country\nc1,small,DE\nc2,,FR\n";
    let settled = r#"
{"order_id":"o1","segment":"small","total":100.00,"settled":true,"at":"2026-01-01T00:10:00Z"}
{"order_id":"o2","segment":"unknown","total":50.00,"settled":false,"at":"2026-01-01T00:20:00Z"}
{"order_id":"o3","segment":"small","total":70.00,"settled":false,"at":"2026-01-01T00:30:00Z"}
{"order_id":"o4","segment":"unknown","total":20.00,"settled":false,"at":"2026-01-01T01:10:00Z"}
{"order_id":"o5","segment":"small","total":30.00,"settled":false,"at":"2026-01-01T01:20:00Z"}
{"order_id":"o5","segment":"small","total":30.00,"settled":true,"at":"2026-01-01T01:20:00Z"}
{"order_id":"o6","segment":"unknown","total":40.00,"settled":true,"at":"2026-01-01T01:30:00Z"}
{"order_id":"o7","segment":"small","total":60.00,"settled":false,"at":"2026-01-01T00:40:00Z"}
{"order_id":"o8","segment":"small","total":1.00,"settled":true,"at":"2026-01-01T05:00:00Z"}
"#;
    let report = r#"
{"segment":"small","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T01:00:00Z","orders":3,"unsettled":2,"revenue":100.00}
{"segment":"unknown","window_start":"2026-01-01T00:00:00Z","window_end":"2026-01-01T01:00:00Z","orders":1,"unsettled":1,"revenue":null}
{"segment":"small","window_start":"2026-01-01T01:00:00Z","window_end":"2026-01-01T02:00:00Z","orders":1,"unsettled":1,"revenue":null}
{"segment":"small","window_start":"2026-01-01T03:00:00Z","window_end":"2026-01-01T04:00:00Z","orders":1,"unsettled":0,"revenue":30.00}
{"segment":"unknown","window_start":"2026-01-01T01:00:00Z","window_end":"2026-01-01T02:00:00Z","orders":2,"unsettled":1,"revenue":40.00}
{"segment":"small","window_start":"2026-01-01T05:00:00Z","window_end":"2026-01-01T06:00:00Z","orders":1,"unsettled":0,"revenue":1.00}
"#;
    let inputs = [("orders.csv", orders), ("payments.ndjson", payments), ("customers.csv", customers)];
    let outputs =
        [("orders-settled.ndjson", settled), ("segment-hourly.ndjson", report), ("orders-late.ndjson", "")];
    check("3-enrich-join.yaml", &inputs, &outputs, |_| {});
}

#[test]
fn login_alerts() {
    // root fails six times and is in, within two minutes; ann fails four times only; bob's fifth failure is of another two
    // minutes than his first; eve has a row of another kind, which is bad, in between. Two files are one log.
    let first = "2026-01-01T00:00:00Z root 10.0.0.1 fail
2026-01-01T00:00:01Z root 10.0.0.1 fail
2026-01-01T00:00:02Z ann 10.0.0.2 fail
2026-01-01T00:00:02Z root 10.0.0.1 fail
2026-01-01T00:00:03Z ann 10.0.0.2 fail
2026-01-01T00:00:04Z ann 10.0.0.2 fail
2026-01-01T00:00:05Z ann 10.0.0.2 fail
2026-01-01T00:00:05Z ann 10.0.0.2 ok
2026-01-01T00:00:06Z bob 10.0.0.3 fail
2026-01-01T00:00:07Z root 10.0.0.1 fail
";
    let second = "2026-01-01T00:00:09Z root 10.0.0.4 fail
2026-01-01T00:00:08Z root 10.0.0.1 fail
2026-01-01T00:01:00Z bob 10.0.0.3 fail
2026-01-01T00:01:01Z eve 10.0.0.5 fail
2026-01-01T00:01:02Z eve 10.0.0.5 fail
the log was rotated
2026-01-01T00:01:03Z eve 10.0.0.5 fail
2026-01-01T00:01:04Z eve 10.0.0.5 fail
2026-01-01T00:01:05Z eve 10.0.0.5 fail
2026-01-01T00:01:06Z eve 10.0.0.6 ok
2026-01-01T00:01:30Z root 10.0.0.9 ok
2026-01-01T00:01:31Z bob 10.0.0.3 fail
2026-01-01T00:01:32Z bob 10.0.0.3 fail
2026-01-01T00:02:07Z bob 10.0.0.3 fail
2026-01-01T00:02:08Z bob 10.0.0.3 ok
";
    let pages = r#"
{"user":"root","failures":6,"first_fail":"2026-01-01T00:00:00Z","logged_in":"2026-01-01T00:01:30Z","ip":"10.0.0.9"}
{"user":"eve","failures":5,"first_fail":"2026-01-01T00:01:01Z","logged_in":"2026-01-01T00:01:06Z","ip":"10.0.0.6"}
"#;
    let bad = |scene: &Scene| assert_eq!(scene.quarantine().len(), 1);
    check(
        "4-login-alerts.yaml",
        &[("auth-1.log", first), ("auth-2.log", second)],
        &[("pages.ndjson", pages)],
        bad,
    );
}
