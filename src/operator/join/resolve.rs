//! A `join` over two inputs whose columns are known.

use super::keys::{KeyColumns, key_columns, row_column};
use super::operator::Joining;
use super::side::Keeping;
use super::spec::{Interval, Rest, Spec};
use super::{Join, Kind, Required, ResolvedJoin, Tells};
use crate::error::{Place, Problem, Problems};
use crate::expr::{Expr, PairCondition, PairKey, TimeBounds, pair_condition, report, time_bounds};
use crate::operator::saved::StateKey;
use crate::operator::{Build, Changelog, Flow, Part, Sends, Untimed};
use crate::record::{Column, KeyCodec, Paths, Schema, SqlType};
use crate::time::duration_text;
use crate::yaml::Node;

/// The options of a `join`.
#[derive(Debug)]
pub(super) struct Declared {
    pub name: String,
    pub kind: Kind,
    pub matches: Node,
    pub within: Option<Node>,
    /// Milliseconds, and where it stands.
    pub ttl: Option<(i64, Place)>,
}

impl Join for Declared {
    fn resolve(&self, inputs: [(&str, &Flow); 2], problems: &mut Problems) -> Option<ResolvedJoin> {
        let sides = inputs.map(|(name, flow)| row_column(name, &flow.schema, false));
        let flows = inputs.map(|(_, flow)| flow);
        let condition = read(&self.matches, &sides, pair_condition, problems);
        let timed = self.check_time(flows, problems);
        let bounds = match &self.within {
            Some(within) => {
                let bounds = read(within, &sides, time_bounds, problems);
                Some(bounds.filter(|bounds| check_times(bounds, inputs, within.at, problems).is_some())?)
            }
            None => None,
        };
        let condition = condition?;
        let codec = self.codec(&condition, problems);
        timed?;
        Some(self.assemble(inputs, &condition, bounds.as_ref(), codec?))
    }
}

/// Reads the expression at `node` over both sides.
fn read<T>(
    node: &Node,
    sides: &[Column; 2],
    parse: fn(&str, &[Column; 2]) -> Result<T, Vec<crate::expr::ExprError>>,
    problems: &mut Problems,
) -> Option<T> {
    let text = node.expression().expect("read as an expression");
    parse(text, sides).map_err(|errors| report(node, errors, problems)).ok()
}

/// Checks that the times of `within` may be the event times of their inputs.
fn check_times(
    bounds: &TimeBounds,
    inputs: [(&str, &Flow); 2],
    at: Place,
    problems: &mut Problems,
) -> Option<()> {
    let is_zoned = |data_type: &SqlType| matches!(data_type, SqlType::TimestampLtz(_));
    for ((name, flow), column) in inputs.into_iter().zip(&bounds.columns) {
        let (Some(event_time), Some(found)) = (&flow.event_time, flow.schema.column(column)) else {
            continue;
        };
        if is_zoned(event_time) != is_zoned(&found.data_type) {
            let what = format!(
                "`{name}.{column}` is {}, and the event time of `{name}` is {event_time}: `within` takes event times",
                found.data_type
            );
            problems.error(at, what);
            return None;
        }
        let Some(known) = flow.time_columns.as_ref().filter(|known| !known.contains(column)) else {
            continue;
        };
        let problem = Problem::error(
            at,
            format!("`{name}.{column}` is not the event time of `{name}`: `within` takes event times"),
        );
        problems.push(match known.first() {
            Some(time) => problem.help(format!("that is `{name}.{time}`")),
            None => problem.help("no column holds it any more: keep it as it is in the steps before"),
        });
        return None;
    }
    Some(())
}

impl Declared {
    /// Checks that the inputs have what `within` and `ttl` need.
    fn check_time(&self, flows: [&Flow; 2], problems: &mut Problems) -> Option<()> {
        let (option, at) = match (&self.within, self.ttl) {
            (Some(within), _) => ("within", within.at),
            (None, Some((_, at))) => ("ttl", at),
            (None, None) => return Some(()),
        };
        if let Some(flow) = flows.iter().find(|flow| flow.event_time.is_none()) {
            problems.push(
                Problem::error(at, format!("`{option}` is a span of event time, and an input has none"))
                    .help(flow.untimed.help()),
            );
            return None;
        }
        if let Some(within) = &self.within {
            for flow in flows {
                flow.refuse_changelog("within", within.at, problems)?;
            }
        }
        Some(())
    }

    fn codec(&self, condition: &PairCondition, problems: &mut Problems) -> Option<KeyCodec> {
        let types = condition.keys.iter().map(|key| key.sides[0].data_type().clone());
        let codec = KeyCodec::new(types.collect());
        codec.map_err(|nested| problems.error(self.matches.at, format!("{nested} cannot be a key"))).ok()
    }

    fn assemble(
        &self,
        inputs: [(&str, &Flow); 2],
        condition: &PairCondition,
        bounds: Option<&TimeBounds>,
        codec: KeyCodec,
    ) -> ResolvedJoin {
        let keys = [0, 1].map(|side: usize| {
            let (name, flow) = inputs[side];
            let of_side = |key: &PairKey| (key.sides[side].clone(), key.columns[side].clone());
            let key: Vec<(Expr, Option<String>)> = condition.keys.iter().map(of_side).collect();
            key_columns(name, &flow.schema, &key)
        });
        let output = self.output(inputs);
        let interval = bounds.map(|bounds| interval(bounds, inputs));
        let names = condition.keys.iter().enumerate().map(|(index, key)| {
            let named = key.columns.iter().flatten().next();
            named.cloned().unwrap_or_else(|| format!("key{index}"))
        });
        let keeping = [0, 1].map(|side: usize| Keeping {
            schema: inputs[side].1.schema.clone(),
            for_ms: match (&interval, self.ttl) {
                (Some(interval), _) => Some([interval.most_ms, interval.least_ms.saturating_neg()][side]),
                (None, ttl) => ttl.map(|(ttl_ms, _)| ttl_ms),
            },
            counts: self.kind.tells()[side] != Tells::Nothing,
            changelog: inputs[side].1.changelog.is_some(),
        });
        let spec = Spec {
            kind: self.kind,
            keys: keys.each_ref().map(|keys| keys.positions.clone()),
            key: StateKey::new(names, codec.clone()),
            keeping,
            interval,
            rest: condition.rest.as_ref().map(|(condition, schema)| rest(condition, schema, inputs)),
            output: output.schema.clone(),
            weighted: output.changelog.is_some(),
        };
        let build = Build::new(self.describe(inputs), move || Box::new(Joining::new(spec.clone())));
        let before = keys.map(|KeyColumns { positions, part }| {
            let exchange = Part::Exchange { columns: positions, codec: codec.clone() };
            part.into_iter().chain([exchange]).collect()
        });
        let required = Self::required(inputs, condition, bounds);
        ResolvedJoin { output, before, build: build.keeping(&self.name), side: Vec::new(), required }
    }

    fn output(&self, inputs: [(&str, &Flow); 2]) -> Flow {
        let tells = self.kind.tells();
        let columns = [0, 1].map(|side: usize| {
            let (name, flow) = inputs[side];
            row_column(name, &flow.schema, self.kind.makes_pairs() && tells[1 - side] == Tells::Alone)
        });
        let sides = if self.kind.makes_pairs() { 2 } else { 1 };
        // What is told of a row by itself is taken back once it is no longer so, but for a partner that stays.
        let corrects = self.within.is_none() && tells.contains(&Tells::Alone);
        let takes_back = inputs.iter().any(|(_, flow)| flow.changelog.is_some());
        Flow {
            schema: Schema::new(columns.into_iter().take(sides).collect()),
            event_time: self.within.as_ref().and_then(|_| inputs[0].1.event_time.clone()),
            // The later time of the two, or that of the one: of no column alone.
            time_columns: None,
            untimed: Untimed::Joined,
            ordered: false,
            pruned: inputs.iter().any(|(_, flow)| flow.pruned),
            window: None,
            changelog: (corrects || takes_back).then_some(Changelog { key: None }),
            sends: Sends::EachChange,
            tables: inputs[0].1.tables.clone(),
        }
    }

    /// The columns of the inputs that the output is made of, and what the join itself reads.
    fn required(
        inputs: [(&str, &Flow); 2],
        condition: &PairCondition,
        bounds: Option<&TimeBounds>,
    ) -> Required {
        let inputs = inputs.map(|(name, flow)| (name.to_owned(), flow.schema.clone()));
        let mut needs = condition.paths.clone();
        let times = bounds.iter().flat_map(|bounds| bounds.columns.iter().zip(&inputs));
        for (column, (name, _)) in times {
            needs.insert(vec![name.clone(), column.clone()]);
        }
        Box::new(move |used| {
            inputs.each_ref().map(|(name, schema)| {
                let mut of_input = Paths::default();
                for path in used.iter().chain(needs.iter()).filter(|path| path[0] == *name) {
                    if path.len() == 1 {
                        return Paths::all(schema);
                    }
                    of_input.insert(path[1..].to_vec());
                }
                of_input
            })
        })
    }

    fn describe(&self, inputs: [(&str, &Flow); 2]) -> String {
        let text = |node: &Node| node.expression().unwrap_or_default().to_owned();
        let kept = match (&self.within, self.ttl) {
            (Some(within), _) => format!(", within {}", text(within)),
            (None, Some((ttl_ms, _))) => format!(", keep rows for {}", duration_text(ttl_ms)),
            (None, None) => ", keep all rows".to_owned(),
        };
        let [(first, _), (second, _)] = inputs;
        format!("{} join of {first} and {second} where {}{kept}", self.kind.name(), text(&self.matches))
    }
}

fn interval(bounds: &TimeBounds, inputs: [(&str, &Flow); 2]) -> Interval {
    let columns = [0, 1].map(|side: usize| {
        inputs[side].1.schema.index_of(&bounds.columns[side]).expect("`within` names columns of its inputs")
    });
    Interval { columns, least_ms: bounds.least_ms, most_ms: bounds.most_ms }
}

/// Where what a condition reads lies in the inputs.
fn rest(condition: &Expr, schema: &Schema, inputs: [(&str, &Flow); 2]) -> Rest {
    let columns = schema.columns().iter().map(|column| {
        let side = inputs.iter().position(|(name, _)| *name == column.name);
        let side = side.expect("a condition reads the two sides");
        let SqlType::Row(fields) = &column.data_type else { unreachable!("a side is a ROW") };
        let position = |field: &Column| {
            inputs[side].1.schema.index_of(&field.name).expect("a condition reads columns of the sides")
        };
        (side, fields.iter().map(position).collect())
    });
    let columns = columns.collect();
    Rest { condition: condition.clone(), schema: schema.clone(), columns }
}
