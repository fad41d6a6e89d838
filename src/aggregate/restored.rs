//! What holds for every aggregate whose states were saved and loaded: from there on it does what the one does that they
//! were saved from, to the last bit. And what the columns are in which states are saved.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float32Array, Float64Array, UInt32Array};
use arrow::compute::take;
use fastrand::Rng;

use super::properties::{Input, calls, column, types};
use super::*;

/// How many groups the model works on.
const GROUPS: u32 = 6;

/// As many numbers as there are for the groups of a restored accumulator.
const NUMBERS: u32 = 10;

/// A column with values that are hard to keep.
fn wild(data_type: &SqlType, rows: usize, random: &mut Rng) -> ArrayRef {
    let special =
        [f64::NAN, f64::from_bits(0xfff8_dead_beef_0001), f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0];
    let exponent = [1, 30, 300][random.usize(0..3)];
    let tame = random.bool();
    let mut double = || match random.u8(0..20) {
        0 | 1 => None,
        2 if !tame => Some(special[random.usize(0..special.len())]),
        3 if !tame => Some([f64::MAX, f64::MIN, 5e-324, f64::MIN_POSITIVE][random.usize(0..4)]),
        4..8 => Some([1.5, -0.25, 0.1][random.usize(0..3)]),
        _ => Some((random.f64() - 0.5) * 10_f64.powi(random.i32(-exponent..=exponent))),
    };
    #[expect(clippy::cast_possible_truncation, reason = "random values")]
    match data_type {
        SqlType::Double => Arc::new((0..rows).map(|_| double()).collect::<Float64Array>()),
        SqlType::Float => Arc::new((0..rows).map(|_| double().map(|v| v as f32)).collect::<Float32Array>()),
        other => column(other, rows, random),
    }
}

/// An accumulator that has gone through everything, and one that was restored now and then and has other numbers.
struct Pair {
    input: Input,
    straight: Box<dyn Accumulator>,
    restored: Box<dyn Accumulator>,
    /// The numbers of the groups in the restored one.
    numbers: Vec<u32>,
    /// The rows that are in, and their groups.
    held: Vec<(u32, u32)>,
}

fn new(call: &Call, groups: u32) -> Box<dyn Accumulator> {
    let mut accumulator = accumulator(call);
    accumulator.resize(groups as usize);
    accumulator
}

fn all() -> Vec<u32> {
    (0..GROUPS).collect()
}

/// An accumulator with the states of these groups, loaded in portions into groups of other numbers, which are told.
fn restore(
    call: &Call,
    saved: &dyn Accumulator,
    groups: &[u32],
    random: &mut Rng,
) -> (Box<dyn Accumulator>, Vec<u32>) {
    let mut order: Vec<u32> = (0..GROUPS).collect();
    random.shuffle(&mut order);
    let from: Vec<u32> = order.iter().map(|group| groups[*group as usize]).collect();
    let columns = saved.save(&from);
    let fields = saved.saved();
    assert_eq!(fields.len(), columns.len(), "{call:?}");
    for (field, column) in fields.iter().zip(&columns) {
        assert_eq!(field.data_type(), column.data_type(), "{field:?} of {call:?}");
        assert!(field.is_nullable() || column.null_count() == 0, "{field:?} of {call:?}");
    }
    let mut free: Vec<u32> = (0..NUMBERS).collect();
    random.shuffle(&mut free);
    let mut restored = new(call, NUMBERS);
    let mut start = 0;
    while start < order.len() {
        let rows = random.usize(1..=order.len() - start);
        let portion: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, rows)).collect();
        restored.load(&free[start..start + rows], &portion);
        start += rows;
    }
    let mut numbers = vec![0; order.len()];
    for (group, number) in order.iter().zip(free) {
        numbers[*group as usize] = number;
    }
    (restored, numbers)
}

impl Pair {
    fn new(call: &Call, random: &mut Rng) -> Self {
        let rows = 150;
        let mut input = Input::random(call, rows, random);
        let columns = call.arguments.iter().map(|argument| wild(&argument.data_type, rows, random));
        input.columns = columns.collect();
        let (straight, restored) = (new(call, GROUPS), new(call, NUMBERS));
        Self { input, straight, restored, numbers: all(), held: Vec::new() }
    }

    fn numbers_of(&self, groups: &[u32]) -> Vec<u32> {
        groups.iter().map(|group| self.numbers[*group as usize]).collect()
    }

    fn rows(random: &mut Rng) -> (Vec<u32>, Vec<u32>) {
        (0..random.usize(1..25)).map(|_| (random.u32(0..150), random.u32(0..GROUPS))).unzip()
    }

    /// Does something to both.
    fn step(&mut self, call: &Call, random: &mut Rng) {
        let (rows, groups) = Self::rows(random);
        let filter = self.input.filter.clone();
        match random.u8(0..12) {
            0 if random.bool() => {
                let group = random.u32(0..GROUPS);
                self.straight.clear(&[group]);
                self.restored.clear(&self.numbers_of(&[group]));
                self.held.retain(|(_, held)| *held != group);
            }
            1 => {
                let (into, from) = (random.u32(0..GROUPS), random.u32(0..GROUPS));
                self.straight.fold(into, from);
                self.restored.fold(self.numbers[into as usize], self.numbers[from as usize]);
                self.held.iter_mut().filter(|held| held.1 == from).for_each(|held| held.1 = into);
            }
            2 | 3 => {
                let mut later = new(call, GROUPS);
                later.add(&rows, &groups, &self.input.columns, filter.as_ref());
                self.straight.merge(&all(), later.as_ref(), &all());
                // What is taken in was restored too.
                let (later, numbers) = restore(call, later.as_ref(), &all(), random);
                self.restored.merge(&self.numbers, later.as_ref(), &numbers);
                self.held.extend(rows.into_iter().zip(groups));
            }
            4..8 if call.retracts && !self.held.is_empty() => {
                random.shuffle(&mut self.held);
                let count = random.usize(1..=self.held.len());
                let (rows, groups): (Vec<u32>, Vec<u32>) = self.held.drain(..count).unzip();
                self.straight.retract(&rows, &groups, &self.input.columns, filter.as_ref());
                let numbers = self.numbers_of(&groups);
                self.restored.retract(&rows, &numbers, &self.input.columns, filter.as_ref());
            }
            _ => {
                self.straight.add(&rows, &groups, &self.input.columns, filter.as_ref());
                let numbers = self.numbers_of(&groups);
                self.restored.add(&rows, &numbers, &self.input.columns, filter.as_ref());
                self.held.extend(rows.into_iter().zip(groups));
            }
        }
    }

    fn compare(&self, call: &Call, what: &str) {
        let (expect, got) = (self.straight.finish(&all()), self.restored.finish(&self.numbers));
        assert_eq!(&got, &expect, "results {what}: {call:?}");
        // A sketch remembers in what order it was filled, for an estimate that is not asked for.
        if what == "restored" || call.function != "APPROX_COUNT_DISTINCT" {
            let (expect, got) = (self.straight.save(&all()), self.restored.save(&self.numbers));
            assert_eq!(got, expect, "states {what}: {call:?}");
        }
    }
}

#[test]
fn what_was_restored_goes_on_as_if_nothing_had_happened() {
    let mut random = Rng::with_seed(2028);
    for call in calls(false).into_iter().chain(calls(true)) {
        for _ in 0..3 {
            let mut pair = Pair::new(&call, &mut random);
            for _ in 0..random.usize(0..12) {
                pair.step(&call, &mut random);
            }
            for _ in 0..random.usize(1..3) {
                let (restored, numbers) = restore(&call, pair.restored.as_ref(), &pair.numbers, &mut random);
                (pair.restored, pair.numbers) = (restored, numbers);
                pair.compare(&call, "restored");
                let (expect, got) = (pair.straight.bytes(), pair.restored.bytes());
                assert!(
                    got <= expect + 2048 && expect <= 4 * got + 2048,
                    "{got} for {expect} bytes: {call:?}"
                );
                for _ in 0..random.usize(1..8) {
                    pair.step(&call, &mut random);
                    pair.compare(&call, "gone on");
                }
            }
            pair.restored.clear(&pair.numbers);
            let everything: Vec<u32> = (0..NUMBERS).collect();
            let empty = new(&call, NUMBERS);
            assert_eq!(&pair.restored.finish(&everything), &empty.finish(&everything), "cleared: {call:?}");
            assert_eq!(pair.restored.save(&everything), empty.save(&everything), "cleared: {call:?}");
        }
    }
}

#[test]
fn states_are_saved_in_the_order_asked_for_and_as_often() {
    let mut random = Rng::with_seed(2029);
    for call in calls(false).into_iter().chain(calls(true)) {
        let mut pair = Pair::new(&call, &mut random);
        for _ in 0..6 {
            pair.step(&call, &mut random);
        }
        let asked = [3_u32, 0, 3, 5];
        let (asked_for, whole) = (pair.straight.save(&asked), pair.straight.save(&all()));
        for (column, whole) in asked_for.iter().zip(&whole) {
            let expect = take(whole, &UInt32Array::from(asked.to_vec()), None).unwrap();
            assert_eq!(column, &expect, "{call:?}");
        }
        let none = pair.straight.save(&[]);
        assert!(none.iter().all(Array::is_empty), "{call:?}");
        pair.restored.load(&[], &none);
    }
}

/// The columns of a call over a column of this type; `how` names what the call is besides.
fn columns(function: &str, data_type: Option<&SqlType>, how: &str) -> String {
    let is = |what: &str| how.split(' ').any(|word| word == what);
    let second = match function {
        "PERCENTILE" | "APPROX_PERCENTILE" => Some(super::tests::constant(SqlType::Int, "1")),
        _ => None,
    };
    let arguments: Vec<Argument> =
        data_type.map(|data_type| Argument::column(data_type.clone())).into_iter().chain(second).collect();
    let (result, _) = resolve(function, &arguments, is("distinct"), is("retracts")).unwrap().unwrap();
    let function = super::function(function).unwrap().name;
    let (distinct, ordered, retracts) = (is("distinct"), is("ordered"), is("retracts"));
    let fields = accumulator(&Call { function, arguments, result, ordered, retracts, distinct }).saved();
    let text = |field: &Field| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("'{}' {}{not_null}", field.name(), field.data_type())
    };
    fields.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_columns_are_a_format_on_disk() {
    let check = |function: &str, data_type: Option<SqlType>, how: &str, expect: &str| {
        let columns = columns(function, data_type.as_ref(), how);
        assert_eq!(columns, expect, "{how} {function} of {data_type:?}");
    };
    let counted = |value: &str| format!(r#"List(Struct("value": {value}, "count": Int64))"#);
    let decimal = |precision, scale| Some(SqlType::Decimal(precision, scale));
    let (integer, double, text) = (Some(SqlType::Int), Some(SqlType::Double), Some(SqlType::String));

    check("COUNT", None, "", "'' Int64 NOT NULL");
    check("COUNT", None, "retracts", "'' Int64 NOT NULL");
    check("COUNT", text.clone(), "distinct", "'' Int64 NOT NULL, 'values' List(Utf8)");
    let values = format!("'' Int64 NOT NULL, 'values' {}", counted("Utf8"));
    check("COUNT", text.clone(), "distinct retracts", &values);

    check("SUM", Some(SqlType::TinyInt), "", "'' Int8");
    check("SUM", Some(SqlType::SmallInt), "", "'' Int16");
    check("SUM", Some(SqlType::BigInt), "", "'' Int64");
    check("SUM", integer.clone(), "retracts", "'' Int32, 'count' Int64 NOT NULL");
    check("SUM", integer.clone(), "distinct", "'' Int32, 'values' List(Int32)");
    check("SUM", decimal(10, 2), "", "'' Decimal128(38, 2)");
    check("SUM", decimal(19, 2), "", "'' Decimal128(38, 2)");
    check("SUM", decimal(20, 2), "", "'' Decimal128(38, 2), 'carry' Int64");
    check("SUM", decimal(38, 2), "retracts", "'' Decimal128(38, 2), 'carry' Int64, 'count' Int64 NOT NULL");
    check("SUM", Some(SqlType::Float), "ordered", "'' Float32");
    check("SUM", double.clone(), "ordered", "'' Float64");
    check("SUM", Some(SqlType::Float), "", "'' Float64, 'rest' Float64, 'more' Binary");
    let exact = "'' Float64, 'rest' Float64, 'more' Binary, 'count' Int64 NOT NULL";
    check("SUM", double.clone(), "ordered retracts", exact);

    check("AVG", integer.clone(), "", "'sum' Decimal128(38, 0), 'count' Int64 NOT NULL");
    check("AVG", integer.clone(), "retracts", "'sum' Decimal128(38, 0), 'count' Int64 NOT NULL");
    check("AVG", decimal(10, 2), "", "'sum' Decimal128(38, 2), 'count' Int64 NOT NULL");
    let carried = "'sum' Decimal128(38, 4), 'sum_carry' Int64, 'count' Int64 NOT NULL";
    check("AVG", decimal(38, 4), "", carried);
    check("AVG", double.clone(), "ordered", "'sum' Float64, 'count' Int64 NOT NULL");
    let exact = "'sum' Float64, 'sum_rest' Float64, 'sum_more' Binary, ";
    check("AVG", double.clone(), "", &format!("{exact}'count' Int64 NOT NULL"));
    check("AVG", Some(SqlType::Float), "retracts", &format!("{exact}'count' Int64 NOT NULL"));
    let squares = "'squares' Float64, 'squares_rest' Float64, 'squares_more' Binary, 'count' Int64 NOT NULL";
    for function in ["STDDEV_POP", "STDDEV_SAMP", "VAR_POP", "VAR_SAMP"] {
        check(function, integer.clone(), "", &format!("{exact}{squares}"));
        check(function, double.clone(), "ordered retracts", &format!("{exact}{squares}"));
    }

    let all = format!("'' {}, 'count' Int64 NOT NULL", counted("Float64"));
    for function in ["PERCENTILE", "MEDIAN"] {
        check(function, integer.clone(), "", "'' List(Float64)");
        check(function, integer.clone(), "retracts", &all);
    }
    check("APPROX_PERCENTILE", double.clone(), "", &format!("'' {}", counted("Int32")));
    check("APPROX_COUNT_DISTINCT", text.clone(), "", "'' Binary");

    for (function, order) in [("MIN", true), ("MAX", true), ("FIRST_VALUE", false), ("LAST_VALUE", false)] {
        for data_type in types() {
            let value = data_type.arrow();
            if order && value.is_nested() {
                continue;
            }
            check(function, Some(data_type.clone()), "", &format!("'' {value}"));
            let all = if order { counted(&value.to_string()) } else { format!("List({value})") };
            check(function, Some(data_type), "retracts", &format!("'' {all}, 'count' Int64 NOT NULL"));
        }
    }
    check("ARRAY_AGG", double.clone(), "", "'' List(Float64)");
    check("ARRAY_AGG", double.clone(), "retracts", "'' List(Float64), 'count' Int64 NOT NULL");
    let values = format!("'' List(Float64), 'count' Int64 NOT NULL, 'values' {}", counted("Float64"));
    check("ARRAY_AGG", double, "distinct retracts", &values);
    check("LISTAGG", text.clone(), "", "'' Utf8");
    check("LISTAGG", text, "retracts", "'' List(Utf8), 'count' Int64 NOT NULL");
}

#[test]
fn columns_have_names_of_their_own() {
    for call in calls(false).into_iter().chain(calls(true)) {
        let fields = accumulator(&call).saved();
        let names: HashSet<&String> = fields.iter().map(Field::name).collect();
        assert_eq!(names.len(), fields.len(), "{call:?}");
    }
}
