//! Random and mutated expressions: neither compiling nor evaluating them may panic.

use super::super::{compile, functions};
use super::{COLUMNS, rows, schema};

const TOKENS: &[&str] = &[
    "(",
    ")",
    "[",
    "]",
    ",",
    ".",
    "+",
    "-",
    "*",
    "/",
    "%",
    "||",
    "=",
    "<>",
    "<",
    ">=",
    "AND",
    "OR",
    "NOT",
    "IS",
    "NULL",
    "TRUE",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "END",
    "IN",
    "BETWEEN",
    "LIKE",
    "ESCAPE",
    "CAST",
    "TRY_CAST",
    "AS",
    "INT",
    "DECIMAL(38, 10)",
    "DECIMAL(38, 38)",
    "TIMESTAMP(9)",
    "STRING",
    "DATE",
    "TIME",
    "INTERVAL",
    "'1'",
    "MONTH",
    "DAY",
    "SECOND",
    "EXTRACT",
    "FROM",
    "TO",
    "0",
    "1",
    "-1",
    "2147483647",
    "9223372036854775807",
    "-9223372036854775808",
    "1e308",
    "0.000000001",
    "99999999999999999999999999999999999999",
    "''",
    "'%_é'",
    "'2024-02-29'",
    "'\u{1F600}日本'",
    "ARRAY",
    "DISTINCT",
    "FILTER",
    "WHERE",
    "`s`",
    "'",
    "`",
    "\"",
    ";",
    "--",
    "/*",
    ":",
    "$",
    "?",
    "\u{0}",
    "é",
];

/// Well-formed expressions of every kind of operator, to be mutated; the functions' examples are added.
const SEEDS: &[&str] = &[
    "CASE WHEN b THEN i + 1 ELSE CAST(s AS INT) END",
    "p * p / (p - p) + 0.5",
    "l / i % t - -l",
    "TRY_CAST(s AS TIMESTAMP(9)) + INTERVAL '1' YEAR",
    "at - INTERVAL '106751991167' DAY > fine",
    "CAST(at AS TIMESTAMP(9)) = fine",
    "bid.deep.n + tags[i] + m[s]",
    "S LIKE s ESCAPE '!' OR S IN (s, 'a')",
    "GREATEST(d, f, l) BETWEEN -l AND i * l",
    "TIMESTAMPADD(MONTH, l, at)",
    "LPAD(S, l, s) || REPEAT(S, l)",
    "SUBSTRING(S, i, l)",
    "ROUND(d, i) + TRUNCATE(p, t) + ROUND(i, l)",
    "CAST(d AS DECIMAL(38, 38)) * CAST(p AS DECIMAL(38, 0))",
    "FLOOR(at TO WEEK) < CEIL(fine TO YEAR)",
    "DATE_FORMAT(at, S)",
    "REGEXP_REPLACE(S, s, S)",
    "TO_TIMESTAMP_LTZ(l, 0) IS NOT DISTINCT FROM instant",
];

fn tried(text: &str) -> bool {
    let Ok(expr) = compile(text, &schema()) else { return false };
    let rows = rows();
    let evaluated = expr.evaluate_at(&rows, i64::MAX);
    assert_eq!(evaluated.values.len(), 3, "{text}");
    assert_eq!(evaluated.values.data_type(), &expr.data_type().arrow(), "{text}");
    // A row by itself comes to what it comes to among others.
    for row in 0..3 {
        let alone = expr.evaluate_at(&rows.slice(row, 1), i64::MAX);
        let failed = evaluated.failed.iter().any(|(index, _)| *index as usize == row);
        assert_eq!(alone.failed.is_empty(), !failed, "{text}: row {row}");
        assert_eq!(alone.values.to_data(), evaluated.values.slice(row, 1).to_data(), "{text}: row {row}");
    }
    true
}

#[test]
fn token_soup_does_not_panic() {
    let mut random = fastrand::Rng::with_seed(seed(7));
    let names: Vec<&str> = functions().iter().map(|f| f.name).chain(COLUMNS.iter().map(|c| c.0)).collect();
    for _ in 0..scaled(4000) {
        let length = random.usize(1..14);
        let soup: Vec<&str> = (0..length)
            .map(|_| {
                if random.bool() {
                    names[random.usize(..names.len())]
                } else {
                    TOKENS[random.usize(..TOKENS.len())]
                }
            })
            .collect();
        tried(&soup.join(if random.bool() { " " } else { "" }));
    }
}

#[test]
fn mutated_expressions_do_not_panic() {
    let mut random = fastrand::Rng::with_seed(seed(11));
    let seeds: Vec<&str> = SEEDS.iter().copied().chain(functions().iter().map(|f| f.example)).collect();
    for seed in SEEDS {
        assert!(tried(seed), "{seed}");
    }
    let mut compiled = 0;
    for _ in 0..scaled(6000) {
        let mut words: Vec<String> = Vec::new();
        for part in seeds[random.usize(..seeds.len())].split_inclusive([' ', '(', ',', ')']) {
            words.push(part.to_owned());
        }
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..words.len());
            let other = match random.u8(..6) {
                0..=2 => COLUMNS[random.usize(..COLUMNS.len())].0.to_owned(),
                3 => TOKENS[random.usize(..TOKENS.len())].to_owned(),
                4 => words[random.usize(..words.len())].clone(),
                _ => format!("({})", seeds[random.usize(..seeds.len())]),
            };
            let end = words[at].chars().next_back().filter(|c| " (,)".contains(*c)).map(String::from);
            words[at] = other + &end.unwrap_or_default();
        }
        compiled += usize::from(tried(&words.concat()));
    }
    assert!(compiled > 200, "only {compiled} of the mutations were expressions");
}

#[test]
fn calls_of_functions_with_extreme_arguments_do_not_panic() {
    let mut random = fastrand::Rng::with_seed(seed(13));
    let literals: Vec<&str> =
        TOKENS.iter().copied().filter(|t| t.starts_with(['\'', '-', '0', '1', '2', '9'])).collect();
    let mut compiled = 0;
    for _ in 0..scaled(12_000) {
        let function = functions()[random.usize(..functions().len())].name;
        let arguments: Vec<String> = (0..random.usize(1..4))
            .map(|_| match random.u8(..5) {
                0 | 1 => literals[random.usize(..literals.len())].to_owned(),
                2 => "CAST(at AS TIMESTAMP(9))".to_owned(),
                _ => COLUMNS[random.usize(..COLUMNS.len())].0.to_owned(),
            })
            .collect();
        let operator =
            ["+", "-", "*", "/", "%", "<", "=", "||", "LIKE", "IS DISTINCT FROM"][random.usize(..10)];
        let text = match random.u8(..3) {
            0 => format!("{} {operator} {}", arguments[0], arguments[arguments.len() - 1]),
            _ => format!("{function}({})", arguments.join(", ")),
        };
        compiled += usize::from(tried(&text));
    }
    assert!(compiled > 1500, "only {compiled} of the calls were expressions");
}

/// More rounds and another seed for a long search: `MILLSTREAM_FUZZ=50 cargo test fuzz`.
fn scaled(rounds: usize) -> usize {
    rounds * usize::try_from(long_search()).unwrap_or(1).max(1)
}

fn seed(seed: u64) -> u64 {
    seed + long_search() * 1000
}

fn long_search() -> u64 {
    std::env::var("MILLSTREAM_FUZZ").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(0)
}
