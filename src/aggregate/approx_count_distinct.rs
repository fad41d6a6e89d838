//! `APPROX_COUNT_DISTINCT`: how many different values there are, about, in at most 4 KiB for a group.
//!
//! `HyperLogLog` with 4096 registers: beyond a few hundred values the standard error is 1.6 %; below that a list of
//! hashes is kept, and the count is exact but for a collision in 32 bits. Values are hashed as keys are
//! ([`KeyCodec::hash`]), which never changes. Of the library's two estimators the one is used that depends on the
//! registers alone, so that neither the order of rows nor that of merges matters.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Int64Array};
use arrow::datatypes::{DataType, Field};
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};

use super::grouped::{Grouped, Rule};
use super::saved::column;
use super::{Distinct, Function, one_argument};
use crate::record::{KeyCodec, SqlType};

/// The entry in the registry.
pub(super) const APPROX_COUNT_DISTINCT: Function = Function {
    name: "APPROX_COUNT_DISTINCT",
    aliases: &[],
    signature: "APPROX_COUNT_DISTINCT(value)",
    summary: "COUNT(DISTINCT value) with a standard error of 1.6 %, in at most 4 KiB for a group; BIGINT",
    retracts: false,
    distinct: Distinct::Same,
    by_order: false,
    resolve: |arguments| {
        let value = one_argument(arguments, "APPROX_COUNT_DISTINCT")?;
        match KeyCodec::new(vec![value.clone()]) {
            Ok(_) => Ok((SqlType::BigInt, false)),
            Err(nested) => Err(format!("APPROX_COUNT_DISTINCT takes a single value, not {nested}")),
        }
    },
    build: |call| {
        let types = vec![call.arguments[0].data_type.clone()];
        let codec = KeyCodec::new(types).expect("resolved to a type that can be a key");
        Grouped::boxed(Registers { codec }, false)
    },
};

/// The words of 32 bits in front of the coupons in the image of a set; the first byte of an image tells this number, and
/// it is another one for lists of coupons and for registers.
const SET_WORDS: u8 = 3;

/// The binary logarithm of the number of registers.
const REGISTERS_LOG2: u8 = 12;

struct Registers {
    codec: KeyCodec,
}

/// A sketch, once there is a value.
type Sketch = Option<Box<HllSketch>>;

impl Rule for Registers {
    type State = Sketch;
    type Column = Vec<Coupon>;
    const HEAP: bool = true;

    fn column(&self, arguments: &[ArrayRef]) -> Vec<Coupon> {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(arguments[0].len()));
        self.codec.encode(&arguments[..1], arguments[0].len(), &mut bytes, &mut ends);
        let starts = std::iter::once(&0).chain(&ends);
        let keys = starts.zip(&ends).map(|(start, end)| &bytes[*start as usize..*end as usize]);
        keys.map(|key| Coupon::from_value(KeyCodec::hash(key))).collect()
    }

    fn add(&self, sketch: &mut Sketch, _: bool, column: &Vec<Coupon>, row: usize) {
        sketch.get_or_insert_with(|| Box::new(empty())).update_with_coupon(column[row]);
    }

    fn retract(&self, _: &mut Sketch, _: &Vec<Coupon>, _: usize) {
        unreachable!("the registry says that nothing is taken back");
    }

    fn merge(&self, sketch: &mut Sketch, _: bool, later: &Sketch) {
        let Some(later) = later else { return };
        let Some(own) = sketch else {
            *sketch = Some(later.clone());
            return;
        };
        let mut union = HllUnion::new(REGISTERS_LOG2).expect("between 4 and 21");
        union.update(own);
        union.update(later);
        **own = union.to_sketch(HllType::Hll8);
    }

    #[expect(clippy::cast_possible_truncation, reason = "far below 2^63")]
    fn finish<'a>(&self, states: impl Iterator<Item = Option<&'a Sketch>>) -> ArrayRef {
        let counts = states.map(|sketch| match sketch {
            Some(Some(sketch)) => sketch.composite_estimate().round() as i64,
            _ => 0,
        });
        Arc::new(Int64Array::from_iter_values(counts))
    }

    fn saved(&self) -> Vec<Field> {
        vec![column("", DataType::Binary)]
    }

    fn save<'a>(&self, states: impl Iterator<Item = Option<&'a Sketch>> + Clone) -> Vec<ArrayRef> {
        let sketches = states.map(|sketch| sketch.and_then(Option::as_deref).map(image));
        vec![Arc::new(sketches.collect::<BinaryArray>())]
    }

    fn load(&self, columns: &[ArrayRef]) -> Vec<Sketch> {
        let sketch = |image| Box::new(HllSketch::deserialize(image).expect("saved by this library"));
        columns[0].as_binary::<i32>().iter().map(|image| image.map(sketch)).collect()
    }

    fn heap(&self, sketch: &Sketch) -> usize {
        sketch.as_ref().map_or(0, |sketch| size_of::<HllSketch>() + sketch.estimated_size())
    }
}

fn empty() -> HllSketch {
    HllSketch::new(REGISTERS_LOG2, HllType::Hll8).expect("between 4 and 21")
}

/// The library's image of a sketch, which other implementations can read too. Coupons of a set lie in the order of a
/// hash table with open addresses, which depends on how it was filled: they are sorted, so that equal sets are equal here.
fn image(sketch: &HllSketch) -> Vec<u8> {
    let mut image = sketch.serialize();
    if let Some((SET_WORDS, coupons)) =
        image.first().copied().zip(image.get_mut(4 * usize::from(SET_WORDS)..))
    {
        coupons.as_chunks_mut::<4>().0.sort_unstable();
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::tests::run;

    #[test]
    fn the_error_is_as_said_and_never_changes() {
        for (count, expect) in [(0, 0_i64), (1, 1), (7, 7), (300, 300), (5000, 0), (100_000, 0)] {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).chain(0..count / 2)));
            let about: i64 = run("APPROX_COUNT_DISTINCT", &SqlType::BigInt, &column, None).parse().unwrap();
            if count <= 300 {
                assert_eq!(about, expect);
            }
            assert!((about - count).abs() * 1000 <= count * 48, "{about} for {count}");
        }
    }

    #[test]
    fn a_sketch_of_any_size_is_restored() {
        let sketch_of = |values: std::ops::Range<i64>| {
            let mut sketches =
                Grouped::boxed(Registers { codec: KeyCodec::new(vec![SqlType::BigInt]).unwrap() }, false);
            sketches.resize(1);
            let rows: Vec<u32> = (0..u32::try_from(values.end - values.start).unwrap()).collect();
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
            sketches.add(&rows, &vec![0; rows.len()], &[column], None);
            sketches
        };
        // Lists of coupons, sets of them, which grow, and registers.
        for count in [0, 1, 7, 8, 24, 25, 100, 250, 384, 385, 1000, 60_000] {
            let mut straight = sketch_of(0..count);
            let (saved, mut restored) = (straight.save(&[0]), sketch_of(0..0));
            restored.load(&[0], &saved);
            assert_eq!(restored.save(&[0]), saved, "{count} values");
            assert_eq!(restored.bytes(), straight.bytes(), "{count} values");
            for (from, more) in [(0, 1), (count, 1), (count, 30), (count, 500), (-90_000, 80_000)] {
                let later = sketch_of(from..from + more);
                straight.merge(&[0], later.as_ref(), &[0]);
                restored.merge(&[0], later.as_ref(), &[0]);
                assert_eq!(&restored.finish(&[0]), &straight.finish(&[0]), "{count} values and {more}");
            }
        }
    }
}
