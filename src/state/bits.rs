//! One bit per number, in pages.

use super::Pages;

/// Bits by number, all clear at first; grown when the first one that is not there is set.
#[derive(Clone, Debug, Default)]
pub struct Bits {
    words: Pages<u64>,
}

impl Bits {
    /// Whether the bit of a number is set.
    #[must_use]
    pub fn get(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    /// The bits of the 64 numbers among which this one is, the lowest number's first.
    #[must_use]
    pub fn word(&self, number: u32) -> u64 {
        self.words.get(number as usize / 64).copied().unwrap_or(0)
    }

    /// Sets the bit of a number; whether it was set before.
    pub fn set(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1);
        }
        let before = self.words[word] & bit != 0;
        self.words[word] |= bit;
        before
    }

    /// Clears the bit of a number.
    pub fn clear(&mut self, number: u32) {
        if self.get(number) {
            self.words[number as usize / 64] &= !(1 << (number % 64));
        }
    }

    /// The first number whose bit is set, of the 64-fold of `word` and the numbers behind it.
    #[must_use]
    pub fn first_from(&self, word: usize) -> Option<u32> {
        let mut words = (word..self.words.len()).map(|word| (word, self.words[word]));
        let (word, bits) = words.find(|(_, bits)| *bits != 0)?;
        Some(u32::try_from(word).expect("numbers are 32 bits") * 64 + bits.trailing_zeros())
    }

    /// The heap bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.words.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_as_they_were_set_last() {
        let mut bits = Bits::default();
        assert!(!bits.get(1_000_000) && bits.first_from(0).is_none());
        assert!(!bits.set(200) && bits.set(200) && !bits.set(64) && !bits.set(63));
        bits.clear(1_000_000);
        assert!(bits.get(63) && bits.get(64) && bits.get(200) && !bits.get(201));
        assert_eq!(
            (bits.first_from(0), bits.first_from(1), bits.first_from(2)),
            (Some(63), Some(64), Some(200))
        );
        bits.clear(200);
        assert!(!bits.get(200) && bits.first_from(2).is_none());
    }
}
