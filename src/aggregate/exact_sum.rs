//! Sums of doubles that do not depend on the order of their terms.
//!
//! Shewchuk, "Adaptive Precision Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997, section 2: a
//! sum is kept as non-overlapping partial sums, whose exact total is rounded once at the end.

/// An exact sum of doubles.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactSum {
    /// Non-overlapping, of increasing magnitude.
    partials: Vec<f64>,
    /// The sum of the terms that are not finite; 0 where all are.
    special: f64,
}

impl ExactSum {
    /// Adds a term.
    pub fn add(&mut self, term: f64) {
        if !term.is_finite() {
            self.special += term;
            return;
        }
        let mut carried = term;
        let mut kept = 0;
        for index in 0..self.partials.len() {
            let (mut large, mut small) = (carried, self.partials[index]);
            if large.abs() < small.abs() {
                std::mem::swap(&mut large, &mut small);
            }
            let sum = large + small;
            if !sum.is_finite() {
                // The true sum may be finite, but its order of terms decides; infinity does not.
                self.special += sum;
                return;
            }
            let lost = small - (sum - large);
            if lost != 0.0 {
                self.partials[kept] = lost;
                kept += 1;
            }
            carried = sum;
        }
        self.partials.truncate(kept);
        self.partials.push(carried);
    }

    /// The sum, rounded once, to even on a tie.
    pub fn total(&self) -> f64 {
        if self.special != 0.0 || self.special.is_nan() {
            return self.special;
        }
        let Some((last, rest)) = self.partials.split_last() else { return 0.0 };
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
        for _ in 0..200 {
            let mut terms: Vec<f64> =
                (0..50).map(|_| (random.f64() - 0.5) * 10_f64.powi(random.i32(-20..20))).collect();
            let expect = total(&terms);
            random.shuffle(&mut terms);
            assert_eq!(total(&terms).to_bits(), expect.to_bits());
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
    }
}
