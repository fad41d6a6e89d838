//! Sums of 128-bit integers that never overflow.

use arrow::datatypes::i256;

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
