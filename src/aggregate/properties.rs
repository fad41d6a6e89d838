//! What holds for every aggregate over every type: a model over single rows is the judge, and neither splitting,
//! merging, folding, clearing nor taking rows back may be told from the result.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, BooleanBuilder, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Float64Builder, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, ListBuilder,
    MapBuilder, MapFieldNames, StringArray, StringBuilder, StructArray, Time32MillisecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::array_value_to_string;
use fastrand::Rng;

use super::*;
use crate::record::Column;

/// How many groups there are.
const GROUPS: u32 = 5;

/// All types, nested ones last.
pub(super) fn types() -> Vec<SqlType> {
    vec![
        SqlType::Boolean,
        SqlType::TinyInt,
        SqlType::SmallInt,
        SqlType::Int,
        SqlType::BigInt,
        SqlType::Float,
        SqlType::Double,
        SqlType::Decimal(10, 2),
        SqlType::Decimal(38, 4),
        SqlType::String,
        SqlType::Bytes,
        SqlType::Date,
        SqlType::Time(3),
        SqlType::Timestamp(3),
        SqlType::TimestampLtz(6),
        SqlType::Timestamp(9),
        SqlType::Array(Box::new(SqlType::BigInt), true),
        SqlType::Row(vec![
            Column::new("n", SqlType::BigInt, true),
            Column::new("flags", SqlType::Array(Box::new(SqlType::Boolean), true), true),
        ]),
        SqlType::Map(Box::new(SqlType::String), Box::new(SqlType::Double), true),
    ]
}

/// A column of few different values, so that they repeat, some of them at the ends of their type. Sums of the doubles
/// are exact, so that a plain sum does not depend on how it is split.
pub(super) fn column(data_type: &SqlType, rows: usize, random: &mut Rng) -> ArrayRef {
    let mut value = || {
        (random.u8(0..5) > 0).then(|| match random.u8(0..16) {
            0 => i64::MAX,
            1 => i64::MIN,
            _ => random.i64(-5..6),
        })
    };
    let values: Vec<Option<i64>> = (0..rows).map(|_| value()).collect();
    let small = |v: &i64| if v.unsigned_abs() > 5 { 0 } else { *v };
    let texts = values
        .iter()
        .map(|v| v.map(|v| "abcdefg".repeat(usize::try_from(small(&v).unsigned_abs()).unwrap())));
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "random values")]
    let array: ArrayRef = match data_type {
        SqlType::Boolean => Arc::new(values.iter().map(|v| v.map(|v| v > 0)).collect::<BooleanArray>()),
        SqlType::TinyInt => Arc::new(values.iter().map(|v| v.map(|v| v as i8)).collect::<Int8Array>()),
        SqlType::SmallInt => Arc::new(values.iter().map(|v| v.map(|v| v as i16)).collect::<Int16Array>()),
        SqlType::Int => Arc::new(values.iter().map(|v| v.map(|v| v as i32)).collect::<Int32Array>()),
        SqlType::BigInt => Arc::new(Int64Array::from(values)),
        SqlType::Float => {
            Arc::new(values.iter().map(|v| v.map(|v| small(&v) as f32 / 4.0)).collect::<Float32Array>())
        }
        SqlType::Double => {
            Arc::new(values.iter().map(|v| v.map(|v| small(&v) as f64 / 8.0)).collect::<Float64Array>())
        }
        SqlType::Decimal(10, _) => Arc::new(
            values
                .iter()
                .map(|v| v.map(|v| i128::from(small(&v)) * 999_999_999))
                .collect::<Decimal128Array>(),
        ),
        SqlType::Decimal(..) => {
            let most = 10_i128.pow(38) - 1;
            let wide = |v: i64| match v {
                i64::MAX => most,
                i64::MIN => -most,
                v => i128::from(v),
            };
            Arc::new(values.iter().map(|v| v.map(wide)).collect::<Decimal128Array>())
        }
        SqlType::String => Arc::new(texts.collect::<StringArray>()),
        SqlType::Bytes => Arc::new(texts.map(|t| t.map(String::into_bytes)).collect::<BinaryArray>()),
        SqlType::Date => {
            Arc::new(values.iter().map(|v| v.map(|v| small(&v) as i32)).collect::<Date32Array>())
        }
        SqlType::Time(_) => Arc::new(
            values.iter().map(|v| v.map(|v| small(&v) as i32 + 5)).collect::<Time32MillisecondArray>(),
        ),
        SqlType::Timestamp(3) => {
            Arc::new(values.iter().map(|v| v.map(|v| small(&v))).collect::<TimestampMillisecondArray>())
        }
        SqlType::TimestampLtz(_) => {
            Arc::new(values.iter().map(|v| v.map(|v| small(&v))).collect::<TimestampMicrosecondArray>())
        }
        SqlType::Timestamp(_) => Arc::new(TimestampNanosecondArray::from(values)),
        SqlType::Row(_) => {
            let flags = |v: i64| (0..v % 3).map(|index| (index != 1).then_some(v > 0)).collect::<Vec<_>>();
            let mut lists = ListBuilder::new(BooleanBuilder::new());
            for v in &values {
                lists.append_option(v.filter(|v| v % 2 == 0).map(flags));
            }
            let numbers = values.iter().map(|v| v.filter(|v| v % 3 != 0)).collect::<Int64Array>();
            let DataType::Struct(fields) = data_type.arrow() else { unreachable!("a ROW is a struct") };
            let nulls = values.iter().map(Option::is_some).collect();
            let columns: Vec<ArrayRef> = vec![Arc::new(numbers), Arc::new(lists.finish())];
            Arc::new(StructArray::new(fields, columns, Some(nulls)))
        }
        SqlType::Map(..) => {
            let names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
            let (keys, items) = (StringBuilder::new(), Float64Builder::new());
            let mut maps = MapBuilder::new(Some(names), keys, items);
            for v in &values {
                for index in 0..v.map_or(0, |v| v.unsigned_abs() % 3) {
                    maps.keys().append_value(format!("key {index}"));
                    maps.values().append_option((index == 0).then(|| small(&v.unwrap()) as f64));
                }
                maps.append(v.is_some()).unwrap();
            }
            Arc::new(maps.finish())
        }
        _ => {
            let lists = values.iter().map(|v| v.map(|v| [Some(v), None].repeat(usize::from(v % 2 != 0))));
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists))
        }
    };
    arrow::array::make_array(
        array.to_data().into_builder().data_type(data_type.arrow()).build().expect("the same layout"),
    )
}

/// Rows of groups, with a filter.
pub(super) struct Input {
    pub columns: Vec<ArrayRef>,
    pub filter: Option<BooleanArray>,
    groups: Vec<u32>,
}

impl Input {
    pub(super) fn random(call: &Call, rows: usize, random: &mut Rng) -> Self {
        let columns = call.arguments.iter().map(|argument| column(&argument.data_type, rows, random));
        let columns = columns.collect();
        let filter = random.bool().then(|| {
            (0..rows).map(|_| (random.u8(0..6) > 0).then(|| random.u8(0..4) > 0)).collect::<BooleanArray>()
        });
        Self { columns, filter, groups: (0..rows).map(|_| random.u32(0..GROUPS)).collect() }
    }

    fn give(&self, rows: &[u32], accumulator: &mut dyn Accumulator) {
        let groups: Vec<u32> = rows.iter().map(|row| self.groups[*row as usize]).collect();
        accumulator.add(rows, &groups, &self.columns, self.filter.as_ref());
    }

    fn take_back(&self, rows: &[u32], accumulator: &mut dyn Accumulator) {
        let groups: Vec<u32> = rows.iter().map(|row| self.groups[*row as usize]).collect();
        accumulator.retract(rows, &groups, &self.columns, self.filter.as_ref());
    }

    /// The text of each value of a group that counts, in order; NULL is none.
    fn values(&self, call: &Call, group: u32) -> Vec<Option<String>> {
        let mut seen = HashSet::new();
        let rows = (0..self.groups.len()).filter(|row| {
            let passes =
                self.filter.as_ref().is_none_or(|filter| filter.is_valid(*row) && filter.value(*row));
            self.groups[*row] == group && passes
        });
        let texts = rows.map(|row| {
            let column = self.columns.first()?;
            column.is_valid(row).then(|| array_value_to_string(column, row).unwrap())
        });
        texts.filter(|text| !call.distinct || seen.insert(text.clone())).collect()
    }
}

fn new(call: &Call) -> Box<dyn Accumulator> {
    let mut accumulator = accumulator(call);
    accumulator.resize(GROUPS as usize);
    accumulator
}

fn all_groups() -> Vec<u32> {
    (0..GROUPS).collect()
}

fn results(accumulator: &dyn Accumulator, call: &Call) -> Vec<String> {
    let results = accumulator.finish(&all_groups());
    assert_eq!(results.data_type(), &call.result.arrow(), "{call:?}");
    let text = |row| {
        if results.is_null(row) { "NULL".to_owned() } else { array_value_to_string(&results, row).unwrap() }
    };
    (0..results.len()).map(text).collect()
}

/// What plain Rust makes of the values of a group; none where the model knows no answer.
fn model(call: &Call, values: &[Option<String>]) -> Option<String> {
    let there: Vec<&String> = values.iter().flatten().collect();
    let number = |text: &&String| text.parse::<f64>().ok();
    let small = there.iter().all(|text| number(text).is_some_and(|value| value.abs() < 1e10));
    let mut sorted: Vec<f64> = there.iter().filter_map(number).collect();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "few values")]
    let (count, sum) = (there.len() as f64, sorted.iter().sum::<f64>());
    let double = call.arguments.first().is_some_and(|argument| argument.data_type == SqlType::Double);
    let null_or = |text: String| Some(if there.is_empty() { "NULL".to_owned() } else { text });
    match call.function {
        "COUNT" if call.arguments.is_empty() => Some(values.len().to_string()),
        "COUNT" => Some(there.len().to_string()),
        "APPROX_COUNT_DISTINCT" => Some(there.iter().collect::<HashSet<_>>().len().to_string()),
        "FIRST_VALUE" => null_or(there.first().map_or(String::new(), |text| (*text).clone())),
        "LAST_VALUE" => null_or(there.last().map_or(String::new(), |text| (*text).clone())),
        "LISTAGG" => {
            let separator = if call.arguments.len() == 2 { "; " } else { "," };
            null_or(there.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(separator))
        }
        "ARRAY_AGG" if values.is_empty() => Some("NULL".to_owned()),
        "ARRAY_AGG" => {
            let texts = values.iter().map(|value| value.clone().unwrap_or_default());
            Some(format!("[{}]", texts.collect::<Vec<_>>().join(", ")))
        }
        "SUM" if double => null_or(format!("{sum:?}")),
        "SUM" if call.result == SqlType::Int && small => null_or(format!("{sum:.0}")),
        "MIN" if double => null_or(sorted.first().map_or(String::new(), |value| format!("{value:?}"))),
        "MAX" if double => null_or(sorted.last().map_or(String::new(), |value| format!("{value:?}"))),
        "AVG" if double => null_or(format!("{:?}", sum / count)),
        "MEDIAN" if double => {
            let middle = |back: usize| sorted[(sorted.len() - back) / 2];
            null_or(if there.is_empty() {
                String::new()
            } else {
                format!("{:?}", f64::midpoint(middle(1), middle(0)))
            })
        }
        "VAR_POP" if double => {
            // Exact: the values are eighths, and the squares of few.
            let squares: f64 = sorted.iter().map(|value| value * value).sum();
            null_or(format!("{:?}", (count * squares - sum * sum) / count / count))
        }
        _ => None,
    }
}

/// All calls there are: every function over every type that it takes, ordered or not, and DISTINCT.
pub(super) fn calls(retracts: bool) -> Vec<Call> {
    let constant =
        |data_type, text: &str| Argument { data_type, nullable: false, constant: Some(text.to_owned()) };
    let mut calls = Vec::new();
    for function in FUNCTIONS {
        for data_type in types() {
            for second in
                [None, Some(constant(SqlType::Decimal(2, 1), "0.3")), Some(constant(SqlType::String, "; "))]
            {
                let arguments: Vec<Argument> =
                    [Some(Argument::column(data_type.clone())), second].into_iter().flatten().collect();
                for (distinct, ordered) in [(false, false), (false, true), (true, false), (true, true)] {
                    let Some(Ok((result, _))) = resolve(function.name, &arguments, distinct, retracts) else {
                        continue;
                    };
                    let arguments = arguments.clone();
                    calls.push(Call {
                        function: function.name,
                        arguments,
                        result,
                        ordered,
                        retracts,
                        distinct,
                    });
                }
            }
        }
    }
    let result = SqlType::BigInt;
    calls.push(Call {
        function: "COUNT",
        arguments: vec![],
        result,
        ordered: false,
        retracts,
        distinct: false,
    });
    calls
}

/// Whether a result may depend on the order of rows.
/// Adds the rows in parts, and merges or folds the parts in a random tree that keeps their order.
fn in_parts(call: &Call, input: &Input, rows: &[u32], depth: u32, random: &mut Rng) -> Box<dyn Accumulator> {
    if depth == 0 || rows.len() < 2 {
        let mut leaf = new(call);
        for piece in rows.chunks(random.usize(1..20)) {
            input.give(piece, leaf.as_mut());
        }
        return leaf;
    }
    let (early, late) = rows.split_at(random.usize(0..=rows.len()));
    let mut early = in_parts(call, input, early, depth - 1, random);
    let late = in_parts(call, input, late, depth - 1, random);
    if random.bool() {
        let groups = all_groups();
        early.merge(&groups, late.as_ref(), &groups);
        return early;
    }
    // The later rows go to other groups of the same accumulator, which are folded and used again.
    early.resize(2 * GROUPS as usize);
    let aside: Vec<u32> = (GROUPS..2 * GROUPS).collect();
    early.merge(&aside, late.as_ref(), &all_groups());
    for group in 0..GROUPS {
        early.fold(group, group + GROUPS);
    }
    assert_eq!(&early.finish(&aside), &new(call).finish(&all_groups()), "folded away: {call:?}");
    early
}

#[test]
fn parts_make_the_whole_and_the_model_agrees() {
    let mut random = Rng::with_seed(2024);
    let mut judged = HashSet::new();
    for call in calls(false).into_iter().chain(calls(true)) {
        for round in 0..3 {
            let input = Input::random(&call, [0, 40, 200][round], &mut random);
            let rows: Vec<u32> = (0..u32::try_from(input.groups.len()).unwrap()).collect();
            let mut whole = new(&call);
            input.give(&rows, whole.as_mut());
            let expect = results(whole.as_ref(), &call);
            for group in 0..GROUPS {
                if let Some(model) = model(&call, &input.values(&call, group)) {
                    assert_eq!(expect[group as usize], model, "{call:?}");
                    judged.insert(call.function);
                }
            }
            let parts = in_parts(&call, &input, &rows, 4, &mut random);
            assert_eq!(results(parts.as_ref(), &call), expect, "in parts: {call:?}");

            if !call.by_order() {
                let mut shuffled = rows.clone();
                random.shuffle(&mut shuffled);
                let mut other = new(&call);
                input.give(&shuffled, other.as_mut());
                assert_eq!(results(other.as_ref(), &call), expect, "in another order: {call:?}");
            }
            assert!(input.groups.is_empty() || whole.bytes() > 0);
        }
    }
    assert_eq!(judged.len(), 12, "the model knows some functions: {judged:?}");
}

#[test]
fn what_is_taken_back_leaves_no_trace() {
    let mut random = Rng::with_seed(2025);
    for call in calls(true) {
        let input = Input::random(&call, 200, &mut random);
        let rows: Vec<u32> = (0..200).collect();
        let is_kept: Vec<bool> = rows.iter().map(|_| random.u8(0..3) == 0).collect();
        let (kept, surplus): (Vec<u32>, Vec<u32>) = rows.iter().partition(|row| is_kept[**row as usize]);
        let mut expect = new(&call);
        input.give(&kept, expect.as_mut());
        let mut changed = new(&call);
        if call.by_order() {
            // What is taken back is the first of its kind, so it must have come before what stays.
            input.give(&surplus, changed.as_mut());
            input.give(&kept, changed.as_mut());
        } else {
            input.give(&rows, changed.as_mut());
        }
        let (first, second) = surplus.split_at(surplus.len() / 2);
        input.take_back(first, changed.as_mut());
        input.take_back(second, changed.as_mut());
        let (expect_text, changed_text) = (results(expect.as_ref(), &call), results(changed.as_ref(), &call));
        // A value that stayed has kept the place in the order at which it first came.
        if !(call.distinct && call.by_order()) {
            assert_eq!(changed_text, expect_text, "{call:?}");
        }

        input.take_back(&kept, changed.as_mut());
        assert_eq!(
            results(changed.as_ref(), &call),
            results(new(&call).as_ref(), &call),
            "emptied: {call:?}"
        );
    }
}

#[test]
fn a_cleared_group_is_as_new() {
    let mut random = Rng::with_seed(2026);
    for call in calls(false).into_iter().chain(calls(true)) {
        let (dirt, input) = (Input::random(&call, 100, &mut random), Input::random(&call, 100, &mut random));
        let rows: Vec<u32> = (0..100).collect();
        let (mut used, mut fresh) = (new(&call), new(&call));
        dirt.give(&rows, used.as_mut());
        let stays = random.u32(0..GROUPS);
        let before = results(used.as_ref(), &call)[stays as usize].clone();
        let cleared: Vec<u32> = all_groups().into_iter().filter(|group| *group != stays).collect();
        used.clear(&cleared);
        assert_eq!(results(used.as_ref(), &call)[stays as usize], before, "not cleared: {call:?}");
        used.clear(&[stays]);
        assert_eq!(results(used.as_ref(), &call), results(fresh.as_ref(), &call), "cleared: {call:?}");
        input.give(&rows, used.as_mut());
        input.give(&rows, fresh.as_mut());
        assert_eq!(results(used.as_ref(), &call), results(fresh.as_ref(), &call), "used again: {call:?}");
        used.clear(&all_groups());
        used.clear(&all_groups());
        assert_eq!(results(used.as_ref(), &call), results(new(&call).as_ref(), &call));
    }
}

#[test]
fn unordered_sums_of_any_doubles_do_not_depend_on_their_order() {
    let mut random = Rng::with_seed(2027);
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -0.0, 5e-324];
    for call in calls(false) {
        let is_double = call.arguments.first().is_some_and(|argument| argument.data_type == SqlType::Double);
        if !is_double || call.ordered || call.by_order() {
            continue;
        }
        for round in 0..30 {
            let mut value = |exponent: i32| match random.u8(0..40) {
                0 if round % 3 == 0 => special[random.usize(0..special.len())],
                _ => (random.f64() - 0.5) * 10_f64.powi(random.i32(-exponent..=exponent)),
            };
            let exponent = [2, 20, 120, 300][round % 4];
            let column: ArrayRef = Arc::new((0..60).map(|_| Some(value(exponent))).collect::<Float64Array>());
            let mut input = Input { columns: vec![column], filter: None, groups: vec![0; 60] };
            let mut rows: Vec<u32> = (0..60).collect();
            let expect = results(in_parts(&call, &input, &rows, 3, &mut random).as_ref(), &call);
            random.shuffle(&mut rows);
            let indices = arrow::array::UInt32Array::from(rows.clone());
            input.columns[0] = take(&input.columns[0], &indices, None).unwrap();
            rows.sort_unstable();
            let parts = in_parts(&call, &input, &rows, 3, &mut random);
            assert_eq!(results(parts.as_ref(), &call), expect, "{call:?} {:?}", input.columns[0]);
        }
    }
}

#[test]
fn results_come_in_the_order_asked_for() {
    for call in calls(false) {
        let mut random = Rng::with_seed(9);
        let input = Input::random(&call, 50, &mut random);
        let mut accumulator = new(&call);
        input.give(&(0..50).collect::<Vec<_>>(), accumulator.as_mut());
        let asked = accumulator.finish(&[3, 0, 3]);
        let single: Vec<ArrayRef> = [3, 0, 3].iter().map(|group| accumulator.finish(&[*group])).collect();
        let single: Vec<&dyn Array> = single.iter().map(AsRef::as_ref).collect();
        assert_eq!(&asked, &concat(&single).unwrap(), "{call:?}");
        assert_eq!(accumulator.finish(&[]).len(), 0);
    }
}
