//! Random values as functions of a key: no sequence is drawn from, so nothing depends on what was asked for before.
//!
//! The mixing function is the finaliser of `SplitMix64` (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
//! Generators", 2014), used on a counter. All arithmetic is on integers or on doubles by addition and multiplication
//! alone, so that every machine makes the same stream.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers are scaled to a range first"
)]

/// 2^64 divided by the golden ratio, odd: consecutive counters fall far apart.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sixty-four random bits for a key and a counter.
#[inline]
pub(super) fn draw(key: u64, counter: u64) -> u64 {
    let mut bits = key.wrapping_add(counter.wrapping_add(1).wrapping_mul(STEP));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number in `0..bound` from random bits; 0 for a bound of 0. The bias is below bound / 2^64.
#[inline]
pub(super) fn below(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

/// A price: 10^(6u) · 100 for u uniform in `[0, 1)`, rounded; between 100 and 100,000,000.
pub(super) fn price(bits: u64) -> i64 {
    // 6 · log2(10), and the powers of ln 2 over factorials: 2^f as a Taylor polynomial, exact to 1e-13 for f in [0, 1).
    const BINARY_DIGITS: f64 = 19.931_568_569_324_174;
    const TAYLOR: [f64; 14] = [
        1.0,
        std::f64::consts::LN_2,
        0.240_226_506_959_100_7,
        0.055_504_108_664_821_58,
        0.009_618_129_107_628_477,
        0.001_333_355_814_642_844_2,
        0.000_154_035_303_933_816_1,
        0.000_015_252_733_804_059_84,
        0.000_001_321_548_679_014_431,
        1.017_808_600_923_97e-7,
        7.054_911_620_801_123e-9,
        4.445_538_271_870_812e-10,
        2.567_843_599_348_821e-11,
        1.369_148_885_390_413e-12,
    ];
    let uniform = (bits >> 11) as f64 / (1_u64 << 53) as f64;
    let exponent = uniform * BINARY_DIGITS;
    let whole = exponent as u32;
    let fraction = exponent - f64::from(whole);
    // Even and odd powers apart: the processor works on both at a time.
    let square = fraction * fraction;
    let (mut even, mut odd) = (0.0, 0.0);
    for terms in TAYLOR.as_chunks::<2>().0.iter().rev() {
        even = even * square + terms[0];
        odd = odd * square + terms[1];
    }
    let power = even + odd * fraction;
    (power * f64::from(1_u32 << whole) * 100.0 + 0.5) as i64
}

/// Appends `length` random letters from a to z.
#[inline]
pub(super) fn letters(key: u64, length: usize, out: &mut Vec<u8>) {
    let (start, end) = (out.len(), out.len() + length);
    // Whole chunks, cut to length afterwards: a copy of eight bytes is one store.
    out.resize(start + length.next_multiple_of(8), 0);
    for (counter, chunk) in (0..).zip(out[start..].as_chunks_mut::<8>().0) {
        *chunk = eight_letters(draw(key, counter));
    }
    out.truncate(end);
}

/// Eight letters from eight random bytes: byte · 26 / 256 in four lanes of 16 bits at a time.
#[inline]
pub(super) fn eight_letters(bits: u64) -> [u8; 8] {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let even = (((bits & EVEN) * 26) >> 8) & EVEN;
    let odd = (((bits >> 8) & EVEN) * 26) & !EVEN;
    (even | odd).wrapping_add(0x6161_6161_6161_6161).to_le_bytes()
}

/// Appends `length` letters of which, between the first and the last, one in 13 on average is `separator` instead.
pub(super) fn words(key: u64, length: usize, separator: u8, out: &mut Vec<u8>) {
    let start = out.len();
    letters(key, length, out);
    let Some(inner) = out[start..].get_mut(1..length.saturating_sub(1)) else { return };
    // Counters far from those of the letters.
    for (counter, bytes) in (1 << 32..).zip(inner.chunks_mut(8)) {
        let chances = draw(key, counter).to_le_bytes();
        for (byte, chance) in bytes.iter_mut().zip(chances) {
            // 20 / 256 is 1 / 12.8.
            if chance < 20 {
                *byte = separator;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_follow_the_power_of_ten() {
        assert_eq!((price(0), price(u64::MAX)), (100, 100_000_000));
        for counter in 0..20_000 {
            let bits = draw(7, counter);
            let exact = 10_f64.powf((bits >> 11) as f64 / (1_u64 << 53) as f64 * 6.0) * 100.0;
            let error = (price(bits) as f64 - exact).abs();
            assert!(error <= 0.5 + 1e-4, "{exact}: off by {error}");
        }
    }

    #[test]
    fn letters_are_letters_and_all_of_them_occur() {
        let mut text = Vec::new();
        letters(3, 2601, &mut text);
        assert_eq!(text.len(), 2601);
        for letter in b'a'..=b'z' {
            let count = text.iter().filter(|byte| **byte == letter).count();
            assert!((50..170).contains(&count), "{}: {count}", char::from(letter));
        }
        assert!(text.iter().all(u8::is_ascii_lowercase));
    }

    #[test]
    fn words_have_separators_inside_only() {
        for length in 0..200 {
            let mut text = b"before".to_vec();
            words(length, usize::try_from(length).unwrap(), b' ', &mut text);
            let made = std::str::from_utf8(&text[6..]).unwrap();
            assert_eq!(made.len() as u64, length);
            assert_eq!(made.trim(), made);
            assert!(length < 150 || made.contains(' '));
        }
    }

    #[test]
    fn below_stays_below() {
        for bound in [0, 1, 2, 50, u64::MAX] {
            assert!(below(u64::MAX, bound) < bound.max(1));
            assert_eq!(below(0, bound), 0);
        }
    }
}
