//! Sums of 128-bit integers that never overflow.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, i256};

use super::saved::{column, part};
use crate::record::SqlType;

/// Sums of decimals of more digits can have more than 38 digits; of this many, 2^63 values do not.
const PRECISION_CARRIED: u8 = 19;

/// What is carried when a sum is saved: one more than the greatest decimal.
const CARRIED: i128 = 10_i128.pow(38);

/// An exact sum of 128-bit integers, in 192 bits: 2^64 of them fit. It is three words rather than an `i256`, which
/// would take 32 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WideSum {
    low: u64,
    middle: u64,
    high: i64,
}

impl WideSum {
    /// Adds a term.
    pub fn add(&mut self, term: i128) {
        self.add_parts(term.cast_unsigned(), if term < 0 { -1 } else { 0 });
    }

    /// Adds another sum.
    pub fn merge(&mut self, other: &Self) {
        self.add_parts(other.lower(), other.high);
    }

    /// The sum.
    pub fn total(&self) -> i256 {
        i256::from_parts(self.lower(), i128::from(self.high))
    }

    /// The columns in which sums of decimals of this precision and scale are saved.
    pub fn saved(name: &str, precision: u8, scale: u8) -> Vec<Field> {
        let mut fields = vec![column(name, SqlType::Decimal(38, scale).arrow())];
        if precision > PRECISION_CARRIED {
            fields.push(column(part(name, "carry"), DataType::Int64));
        }
        fields
    }

    /// Sums in these columns: what is left of 10^38, and how often that is in it.
    pub fn save<'a>(
        sums: impl Iterator<Item = Option<&'a Self>> + Clone,
        precision: u8,
        scale: u8,
    ) -> Vec<ArrayRef> {
        let rests = sums.clone().map(|sum| sum.map(|sum| sum.carry_and_rest().1));
        let rests = rests.collect::<Decimal128Array>().with_data_type(SqlType::Decimal(38, scale).arrow());
        let mut columns: Vec<ArrayRef> = vec![Arc::new(rests)];
        if precision > PRECISION_CARRIED {
            let carries = sums.map(|sum| sum.map(|sum| sum.carry_and_rest().0));
            columns.push(Arc::new(carries.collect::<Int64Array>()));
        }
        columns
    }

    /// The sums that were saved in these columns.
    pub fn load(columns: &[ArrayRef], precision: u8) -> Vec<Self> {
        let rests = columns[0].as_primitive::<Decimal128Type>().values().iter();
        if precision <= PRECISION_CARRIED {
            return rests.map(|rest| Self::of(i256::from_i128(*rest))).collect();
        }
        let carries = columns[1].as_primitive::<Int64Type>().values();
        let whole = |carry: i64| i256::from_i128(i128::from(carry)).wrapping_mul(i256::from_i128(CARRIED));
        let sums = rests.zip(carries).map(|(rest, carry)| whole(*carry).wrapping_add(i256::from_i128(*rest)));
        sums.map(Self::of).collect()
    }

    fn of(total: i256) -> Self {
        let (lower, high) = total.to_parts();
        let mut sum = Self::default();
        sum.add_parts(lower, i64::try_from(high).expect("a sum has 192 bits"));
        sum
    }

    /// How often 10^38 is in the sum, and what is left.
    fn carry_and_rest(&self) -> (i64, i128) {
        if let Some(total) =
            self.total().to_i128().filter(|total| total.unsigned_abs() < CARRIED.unsigned_abs())
        {
            return (0, total);
        }
        let (total, carried) = (self.total(), i256::from_i128(CARRIED));
        let (carry, rest) = (total.wrapping_div(carried), total.wrapping_rem(carried));
        let carry = carry.to_i128().and_then(|carry| i64::try_from(carry).ok());
        (carry.expect("2^62 values would have to be added"), rest.as_i128())
    }

    fn lower(&self) -> u128 {
        u128::from(self.middle) << 64 | u128::from(self.low)
    }

    #[expect(clippy::cast_possible_truncation, reason = "splits a number into its words")]
    fn add_parts(&mut self, lower: u128, high: i64) {
        let (sum, carry) = self.lower().overflowing_add(lower);
        self.low = sum as u64;
        self.middle = (sum >> 64) as u64;
        self.high = self.high.wrapping_add(high).wrapping_add(i64::from(carry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_256_bits() {
        let mut random = fastrand::Rng::with_seed(5);
        let (mut sum, mut model) = (WideSum::default(), i256::ZERO);
        for _ in 0..1000 {
            let term = random.i128(..) >> random.u32(0..128);
            sum.add(term);
            model = model.wrapping_add(i256::from_i128(term));
            assert_eq!(sum.total(), model);
        }
        let copy = sum.clone();
        sum.merge(&copy);
        assert_eq!(sum.total(), model.wrapping_add(model));
        for _ in 0..3 {
            sum.add(i128::MAX);
        }
        assert_eq!(size_of::<WideSum>(), 24);
    }
}
