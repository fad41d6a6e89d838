//! Sums of doubles and of their products that do not depend on the order of their terms.
//!
//! Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997, section 2: a
//! sum is kept as non-overlapping partial sums, whose exact total is rounded once at the end. Terms so large that a
//! sum of them could overflow are kept apart, scaled down; those that are not finite are counted.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float64Type};

use super::saved::{column, part};

/// From here on terms are large: 2^900. Below it takes 2^123 terms to overflow.
const LARGE: f64 = 8.452_712_498_170_644e270;
/// What large terms are scaled by, 2^-1200, and its two halves, as 2^1200 is no double. What is at least 2^900 with 106
/// digits stays exact, and what is below 2^2200 fits.
const HALF_SCALE: f64 = 2.409_919_865_102_884e-181;
const HALF_UNSCALE: f64 = 4.149_515_568_880_993e180;

/// An exact sum of doubles. It is 24 bytes, and more on the heap only where two partial sums do not do.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    /// The two partial sums, non-overlapping, where there are no more: the rounded sum, and what is left.
    high: f64,
    low: f64,
    more: Option<Box<More>>,
}

/// What few sums need.
#[derive(Clone, Debug, Default)]
struct More {
    /// Non-overlapping, of increasing magnitude; `high` and `low` are then 0.
    partials: Vec<f64>,
    /// The same for large terms, scaled by 2^-1200.
    large: Vec<f64>,
    /// How many terms are infinite, minus infinite, and not a number.
    special: [i64; 3],
}

impl More {
    /// How many partial sums there are, those, the three counts, and the large partial sums.
    fn save(&self) -> Vec<u8> {
        let count = [u64::try_from(self.partials.len()).expect("64 bits")];
        let bits = |partials: &[f64]| partials.iter().map(|partial| partial.to_bits()).collect::<Vec<_>>();
        let special = self.special.map(i64::cast_unsigned);
        let words = [&count[..], &bits(&self.partials), &special, &bits(&self.large)].concat();
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn load(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        let count = words.next().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let partials = words.by_ref().take(count).map(f64::from_bits).collect();
        let special = [(); 3].map(|()| words.next().unwrap_or(0).cast_signed());
        Self { partials, special, large: words.map(f64::from_bits).collect() }
    }
}

/// The rounded sum of two numbers and what was lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    let a_part = sum - b_part;
    (sum, (a - a_part) + (b - b_part))
}

/// Adds a term to non-overlapping partial sums of increasing magnitude.
fn grow(partials: &mut Vec<f64>, term: f64) {
    let mut carried = term;
    let mut kept = 0;
    for index in 0..partials.len() {
        let (sum, lost) = two_sum(carried, partials[index]);
        if lost != 0.0 {
            partials[kept] = lost;
            kept += 1;
        }
        carried = sum;
    }
    partials.truncate(kept);
    if carried != 0.0 {
        partials.push(carried);
    }
}

/// The sum of partial sums, rounded once, to even on a tie.
fn rounded(partials: &[f64]) -> f64 {
    let Some((last, rest)) = partials.split_last() else { return 0.0 };
    let (mut high, mut low) = (*last, 0.0);
    let mut remaining = rest;
    while let Some((next, before)) = remaining.split_last() {
        let sum = high + next;
        low = next - (sum - high);
        high = sum;
        remaining = before;
        if low != 0.0 {
            break;
        }
    }
    // Half-way cases: what is left decides the direction.
    if let Some(next) = remaining.last()
        && ((low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0))
    {
        let doubled = low * 2.0;
        let moved = high + doubled;
        #[expect(clippy::float_cmp, reason = "asks whether the sum was exact")]
        let exact = doubled == moved - high;
        if exact {
            return moved;
        }
    }
    high
}

impl ExactSum {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        if term.abs() < LARGE {
            self.add_small(term);
        } else if term.is_finite() {
            self.add_large(term * HALF_SCALE * HALF_SCALE);
        } else {
            self.count_special(term, 1);
        }
    }

    /// Takes a term back that was added.
    pub fn retract(&mut self, term: f64) {
        if term.is_finite() {
            self.add(-term);
        } else {
            self.count_special(term, -1);
        }
    }

    /// Adds the product of two finite doubles: exactly, unless it lies below 2^-960.
    pub fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        if product.abs() < LARGE {
            self.add_small(product);
            self.add_small(a.mul_add(b, -product));
        } else {
            // One factor is above 2^449: scaling the larger one leaves both exact.
            let (large, other) = if a.abs() > b.abs() { (a, b) } else { (b, a) };
            let (large, other) = if other.abs() > 1.0 {
                (large * HALF_SCALE, other * HALF_SCALE)
            } else {
                (large * HALF_SCALE * HALF_SCALE, other)
            };
            let product = large * other;
            self.add_large(product);
            self.add_large(large.mul_add(other, -product));
        }
    }

    /// Adds this sum, times a whole number below 2^53, to another.
    pub fn add_times(&self, times: f64, into: &mut Self) {
        into.add_product(self.high, times);
        into.add_product(self.low, times);
        if let Some(more) = &self.more {
            more.partials.iter().for_each(|term| into.add_product(*term, times));
            for term in &more.large {
                let product = term * times;
                into.add_large(product);
                into.add_large(term.mul_add(times, -product));
            }
        }
    }

    /// The fewest doubles whose sum it is, the largest first: they do not depend on the order of the terms either. None
    /// where the sum is not finite.
    pub fn terms(&self) -> Option<Vec<f64>> {
        let (mut rest, mut terms) = (self.clone(), Vec::new());
        loop {
            let term = rest.total();
            if !term.is_finite() {
                return None;
            }
            if term == 0.0 {
                return Some(terms);
            }
            terms.push(term);
            rest.add(-term);
        }
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_small(other.high);
        self.add_small(other.low);
        if let Some(more) = &other.more {
            for term in &more.partials {
                self.add_small(*term);
            }
            for term in &more.large {
                self.add_large(*term);
            }
            if more.special != [0; 3] {
                let special = &mut self.more().special;
                for (count, added) in special.iter_mut().zip(more.special) {
                    *count += added;
                }
            }
        }
    }

    /// The sum, rounded once, to even on a tie. A sum of 0 is positive.
    pub fn total(&self) -> f64 {
        let Some(more) = &self.more else { return self.high + self.low + 0.0 };
        match more.special {
            [0, 0, 0] => {}
            [_, 0, 0] => return f64::INFINITY,
            [0, _, 0] => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        if more.large.is_empty() {
            return rounded(&more.partials) + 0.0;
        }
        let unscaled: Vec<f64> = more.large.iter().map(|term| term * HALF_UNSCALE * HALF_UNSCALE).collect();
        if unscaled.iter().all(|term| term.abs() < f64::MAX / 16.0) {
            let mut partials = more.partials.clone();
            for term in unscaled {
                grow(&mut partials, term);
            }
            return rounded(&partials) + 0.0;
        }
        // The sum is above 2^1018 or beyond all doubles: of small terms only what side of a tie they are on matters.
        let mut partials = more.large.clone();
        for term in &more.partials {
            let scaled = term * HALF_SCALE * HALF_SCALE;
            let exact = (scaled * HALF_UNSCALE * HALF_UNSCALE).to_bits() == term.to_bits();
            grow(&mut partials, if exact { scaled } else { f64::MIN_POSITIVE.copysign(*term) });
        }
        rounded(&partials) * HALF_UNSCALE * HALF_UNSCALE
    }

    /// The columns in which sums are saved.
    pub fn saved(name: &str) -> Vec<Field> {
        vec![
            column(name, DataType::Float64),
            column(part(name, "rest"), DataType::Float64),
            column(part(name, "more"), DataType::Binary),
        ]
    }

    /// Sums in these columns: the rounded sum, what is left of it, and where two numbers do not do all that is kept,
    /// as numbers of 8 bytes, little-endian.
    pub fn save<'a>(sums: impl Iterator<Item = Option<&'a Self>> + Clone) -> Vec<ArrayRef> {
        let totals = sums.clone().map(|sum| sum.map(Self::total));
        let rests = sums.clone().map(|sum| sum.map(|sum| sum.low));
        let more = sums.map(|sum| sum?.more.as_ref().map(|more| more.save()));
        vec![
            Arc::new(totals.collect::<Float64Array>()),
            Arc::new(rests.collect::<Float64Array>()),
            Arc::new(more.collect::<BinaryArray>()),
        ]
    }

    /// The sums that were saved in these columns.
    pub fn load(columns: &[ArrayRef]) -> Vec<Self> {
        let doubles = |index: usize| columns[index].as_primitive::<Float64Type>().values();
        let (totals, rests, more) = (doubles(0), doubles(1), columns[2].as_binary::<i32>());
        let sums = totals.iter().zip(rests).zip(more).map(|((total, rest), more)| match more {
            Some(more) => Self { more: Some(Box::new(More::load(more))), ..Self::default() },
            None => Self { high: *total, low: *rest, more: None },
        });
        sums.collect()
    }

    /// The heap bytes held.
    pub fn heap(&self) -> usize {
        self.more.as_ref().map_or(0, |more| {
            size_of::<More>() + (more.partials.capacity() + more.large.capacity()) * size_of::<f64>()
        })
    }

    /// Adds a term below [`LARGE`].
    fn add_small(&mut self, term: f64) {
        if let Some(more) = &mut self.more {
            grow(&mut more.partials, term);
            return;
        }
        let (sum, lowest) = two_sum(term, self.low);
        let (high, low) = two_sum(sum, self.high);
        if lowest == 0.0 {
            (self.high, self.low) = (high, low);
        } else if low == 0.0 {
            // `high` may have been cancelled to less than what was lost.
            (self.high, self.low) = two_sum(high, lowest);
        } else {
            (self.high, self.low) = (0.0, 0.0);
            self.more = Some(Box::new(More { partials: vec![lowest, low, high], ..More::default() }));
        }
    }

    /// Adds a large term that has been scaled.
    fn add_large(&mut self, scaled: f64) {
        grow(&mut self.more().large, scaled);
    }

    fn count_special(&mut self, term: f64, by: i64) {
        let class = if term.is_nan() { 2 } else { usize::from(term < 0.0) };
        self.more().special[class] += by;
    }

    fn more(&mut self) -> &mut More {
        let Self { high, low, more } = self;
        more.get_or_insert_with(|| {
            let partials = [std::mem::take(low), std::mem::take(high)];
            Box::new(More {
                partials: partials.into_iter().filter(|partial| *partial != 0.0).collect(),
                ..More::default()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(terms: &[f64]) -> f64 {
        let mut sum = ExactSum::default();
        for term in terms {
            sum.add(*term);
        }
        sum.total()
    }

    #[test]
    fn the_order_does_not_matter() {
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..400 {
            let exponents = if round % 2 == 0 { -20..20 } else { -300..309 };
            let mut terms: Vec<f64> =
                (0..50).map(|_| (random.f64() - 0.5) * 10_f64.powi(random.i32(exponents.clone()))).collect();
            let expect = total(&terms);
            random.shuffle(&mut terms);
            assert_eq!(total(&terms).to_bits(), expect.to_bits());
            let (mut left, mut right) = (ExactSum::default(), ExactSum::default());
            for (index, term) in terms.iter().enumerate() {
                if index % 3 == 0 { left.add(*term) } else { right.add(*term) }
            }
            left.merge(&right);
            assert_eq!(left.total().to_bits(), expect.to_bits());
            for term in &terms {
                left.retract(*term);
            }
            assert_eq!(left.total().to_bits(), 0);
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the sums are exact")]
    fn nothing_is_lost() {
        assert_eq!(total(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(total(&[0.1; 10]), 1.0);
        assert_eq!(total(&[]), 0.0);
        assert_eq!(total(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(total(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert_eq!(total(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(total(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(total(&[f64::MAX, f64::MAX, 1e-300, -f64::MAX, -f64::MAX]), 1e-300);
        assert_eq!(total(&[f64::MAX, 1e291, 1.0]), f64::MAX);
        // Half a unit of the last place above the greatest double, and a little less.
        let half = 2_f64.powi(969) + 2_f64.powi(969);
        assert_eq!(total(&[f64::MAX, half]), f64::INFINITY);
        assert_eq!(total(&[f64::MAX, half, -1e-300]), f64::MAX);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "the sums are exact")]
    fn products_are_exact() {
        let third = 1.0 / 3.0;
        let mut sum = ExactSum::default();
        sum.add_product(third, third);
        sum.add(-(third * third));
        assert_eq!(sum.total(), third.mul_add(third, -(third * third)));
        let mut sum = ExactSum::default();
        for (a, b) in [(1e200, 1e200), (1e300, 1.5), (3.0, 0.5), (-1e200, 1e200), (-1.5, 1e300)] {
            sum.add_product(a, b);
        }
        assert_eq!(sum.total(), 1.5);
    }

    #[test]
    fn the_scales_are_powers_of_two() {
        assert_eq!(LARGE.to_bits(), 2_f64.powi(900).to_bits());
        assert_eq!(HALF_SCALE.to_bits(), 2_f64.powi(-600).to_bits());
        assert_eq!(HALF_UNSCALE.to_bits(), 2_f64.powi(600).to_bits());
        assert_eq!(size_of::<ExactSum>(), 24);
    }
}
