//! `nexmark`: the events of the Nexmark benchmark, made in process.

use std::sync::Arc;

use super::nexmark::{Config, Form, Generator, Shuffle, schema};
use super::paced::{self, Make, Rows};
use super::{Kind, Opened, Opening, Source, SourceError};
use crate::error::{Problem, Problems};
use crate::record::Schema;
use crate::yaml::{Fields, Key, Node};

/// The entry in the registry.
pub(super) const KIND: Kind = Kind {
    name: "nexmark",
    summary: "makes the events of the Nexmark benchmark (person, auction, bid), the same for the same seed",
    example: "nexmark: { events: 100000, tps: 10000, seed: 1 }",
    parse,
};

#[derive(Debug)]
struct Declared {
    generator: Generator,
    form: Form,
    shuffle: u64,
    rows: Rows,
}

fn parse(key: &Key, node: &Node, problems: &mut Problems) -> Option<Box<dyn Source>> {
    let mut fields = Fields::under(key, node, "source.nexmark", problems);
    let defaults = Config::default();
    let events = fields.whole("events", 0, u64::MAX, problems);
    let seed = fields.whole("seed", 0, u64::MAX, problems).unwrap_or(defaults.seed);
    let tps = fields.whole("tps", 1, 1_000_000_000, problems).unwrap_or(defaults.events_per_second);
    let shuffle = fields.whole("shuffle", 0, u64::MAX, problems).unwrap_or(0);
    let paced = fields.boolean("pace", problems).unwrap_or(false);
    let forms = [("nested", Form::Nested), ("flat", Form::Flat)];
    let form = fields.one_of("form", &forms, problems).unwrap_or_default();
    fields.finish(problems);
    let config = Config { seed, events_per_second: tps, ..defaults };
    #[expect(clippy::cast_precision_loss, reason = "at most 1e9")]
    let rows = Rows { total: events, rate: paced.then_some(tps as f64) };
    match Generator::new(config) {
        Ok(generator) => Some(Box::new(Declared { generator, form, shuffle, rows })),
        Err(error) => {
            problems.push(Problem::error(key.at, error.to_string()));
            None
        }
    }
}

impl Source for Declared {
    fn schema(&self) -> Option<Schema> {
        Some(schema(self.form))
    }

    fn event_time(&self) -> Option<(&'static str, i64)> {
        Some(match self.form {
            Form::Nested => ("COALESCE(bid.dateTime, auction.dateTime, person.dateTime)", 4000),
            Form::Flat => ("dateTime", 4000),
        })
    }

    fn is_bounded(&self) -> bool {
        self.rows.total.is_some()
    }

    fn can_supply(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let total = self.rows.total.map_or("without end".to_owned(), |total| format!("{total} events"));
        format!(
            "nexmark ({total}; the same events for the same seed, made again from the last snapshot after a crash)"
        )
    }

    fn open(&self, opening: &Opening) -> Result<Opened, SourceError> {
        let (generator, columns) = (self.generator.clone(), opening.columns.clone());
        let order = Shuffle::new(generator.config().seed, self.shuffle, self.rows.total.unwrap_or(u64::MAX));
        let make: Make = Arc::new(move |from, count, _| {
            let numbers = (from..from + count as u64).map(|position| order.order(position));
            (generator.rows_of(numbers, &columns), Vec::new())
        });
        paced::open("nexmark", self.rows, None, &make, opening)
    }
}
