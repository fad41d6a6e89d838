//! What a processor has for many bytes at once, found out when the program runs. Each kernel is compiled once for every
//! level, and all levels give the same results.
#![expect(
    unsafe_code,
    reason = "instructions that not every processor has, and registers filled from memory"
)]

use super::lockstep::{self, Lockstep};
use super::piece::{self, Index};
use crate::codec::framing;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The levels that this processor has, the best last; there is always the portable one.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("bmi1")
                && std::is_x86_feature_detected!("bmi2")
                && std::is_x86_feature_detected!("lzcnt")
                && std::is_x86_feature_detected!("popcnt");
            if avx2 {
                levels.push(Self(Kind::Avx2));
            }
            let avx512 = std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512vl")
                && std::is_x86_feature_detected!("avx512vbmi2");
            if avx2 && avx512 {
                levels.push(Self(Kind::Avx512));
            }
        }
        levels
    }

    /// The best level that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().expect("there is always one")
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
        }
    }

    /// Pushes to `spans` where the lines of `bytes` are; see [`framing::frame_lines`].
    pub(in crate::codec) fn frame(self, bytes: &[u8], spans: &mut Vec<u64>) {
        match self.0 {
            Kind::Portable => framing::frame(bytes, spans, |block| piece::look_portable(block).newline),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx2 => unsafe { x86::frame_avx2(bytes, spans) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx512 => unsafe { x86::frame_avx512(bytes, spans) },
        }
    }

    /// Copies and indexes a piece; returns how many marks there are, and whether a byte is special.
    pub(super) fn index(self, source: &[u8], index: Index<'_>) -> (usize, bool) {
        match self.0 {
            Kind::Portable => {
                piece::index(source, index, piece::look_portable, piece::write_each::<{ piece::AT_ONCE }>)
            }
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx2 => unsafe { x86::index_avx2(source, index) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx512 => unsafe { x86::index_avx512(source, index) },
        }
    }

    /// Follows a template through records.
    pub(super) fn follow(self, records: Lockstep<'_>) {
        match self.0 {
            Kind::Portable => lockstep::follow(records),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx2 => unsafe { x86::follow_avx2(records) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level is only made where the processor has its instructions.
            Kind::Avx512 => unsafe { x86::follow_avx512(records) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi16, _mm256_cmpeq_epi8, _mm256_cvtepu8_epi16, _mm256_loadu_si256,
        _mm256_max_epu8, _mm256_movemask_epi8, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_storeu_si256,
        _mm256_sub_epi8, _mm512_add_epi16, _mm512_castsi512_si128, _mm512_castsi512_si256,
        _mm512_cmpeq_epi8_mask, _mm512_cmpge_epu8_mask, _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64,
        _mm512_loadu_si512, _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_set1_epi16,
        _mm512_storeu_si512, _mm512_sub_epi8,
    };

    use super::super::lockstep::{self, Lockstep};
    use super::super::piece::{self, BLOCK, Index, Masks};
    use crate::codec::framing;

    /// The place of each byte in a block.
    const PLACES: [u8; BLOCK] = {
        let mut places = [0; BLOCK];
        let mut place = 1;
        while place < BLOCK {
            places[place] = places[place - 1] + 1;
            place += 1;
        }
        places
    };

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn frame_avx2(bytes: &[u8], spans: &mut Vec<u64>) {
        framing::frame(bytes, spans, |block| look_avx2(block).newline);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi2")]
    pub(super) fn frame_avx512(bytes: &[u8], spans: &mut Vec<u64>) {
        framing::frame(bytes, spans, |block| look_avx512(block).newline);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn index_avx2(source: &[u8], index: Index<'_>) -> (usize, bool) {
        piece::index(source, index, |block| look_avx2(block), piece::write_each::<{ piece::AT_ONCE }>)
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi2")]
    pub(super) fn index_avx512(source: &[u8], index: Index<'_>) -> (usize, bool) {
        piece::index(
            source,
            index,
            |block| look_avx512(block),
            |mask, base, at, marks| write_avx512(mask, base, at, marks),
        )
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn follow_avx2(records: Lockstep<'_>) {
        lockstep::follow(records);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi2")]
    pub(super) fn follow_avx512(records: Lockstep<'_>) {
        lockstep::follow(records);
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn load_avx2(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: 32 bytes are there to be read, and the instruction asks for no alignment.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn look_avx2(block: &[u8; BLOCK]) -> Masks {
        let (halves, _) = block.as_chunks::<32>();
        let (low, high) = (load_avx2(&halves[0]), load_avx2(&halves[1]));
        let bits = |low, high| {
            u64::from(_mm256_movemask_epi8(low).cast_unsigned())
                | u64::from(_mm256_movemask_epi8(high).cast_unsigned()) << 32
        };
        let equal = |byte: u8| {
            let byte = _mm256_set1_epi8(byte.cast_signed());
            bits(_mm256_cmpeq_epi8(low, byte), _mm256_cmpeq_epi8(high, byte))
        };
        // Turned by 0x20, control characters are at the end of the range, behind what is beyond ASCII.
        let wild = |half| {
            let turned = _mm256_sub_epi8(half, _mm256_set1_epi8(0x20));
            _mm256_cmpeq_epi8(_mm256_max_epu8(turned, _mm256_set1_epi8(0x60)), turned)
        };
        Masks {
            quote: equal(b'"'),
            backslash: equal(b'\\'),
            newline: equal(b'\n'),
            wild: bits(wild(low), wild(high)),
        }
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn load_avx512(bytes: &[u8; BLOCK]) -> __m512i {
        // SAFETY: 64 bytes are there to be read, and the instruction asks for no alignment.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    fn look_avx512(block: &[u8; BLOCK]) -> Masks {
        let block = load_avx512(block);
        let equal = |byte: u8| _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(byte.cast_signed()));
        // Turned by 0x20, control characters are at the end of the range, behind what is beyond ASCII.
        let turned = _mm512_sub_epi8(block, _mm512_set1_epi8(0x20));
        Masks {
            quote: equal(b'"'),
            backslash: equal(b'\\'),
            newline: equal(b'\n'),
            wild: _mm512_cmpge_epu8_mask(turned, _mm512_set1_epi8(0x60)),
        }
    }

    /// Writes down the marks of a block, 16 at once: few blocks have more.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi2,popcnt")]
    #[inline]
    fn write_avx512(mask: u64, base: u16, at: usize, marks: &mut [u16]) -> usize {
        let places = _mm512_maskz_compress_epi8(mask, load_avx512(&PLACES));
        let count = mask.count_ones() as usize;
        let first = _mm256_cvtepu8_epi16(_mm512_castsi512_si128(places));
        store_16(_mm256_add_epi16(first, _mm256_set1_epi16(base.cast_signed())), &mut marks[at..]);
        if count > 16 {
            let base = _mm512_set1_epi16(base.cast_signed());
            let first = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(places));
            store(_mm512_add_epi16(first, base), &mut marks[at..]);
            let second = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(places));
            store(_mm512_add_epi16(second, base), &mut marks[at + 32..]);
        }
        count
    }

    #[target_feature(enable = "avx2")]
    #[inline]
    fn store_16(values: __m256i, marks: &mut [u16]) {
        let marks: &mut [u16] = &mut marks[..16];
        // SAFETY: 16 values of 16 bits are there to be written, and the instruction asks for no alignment.
        unsafe { _mm256_storeu_si256(marks.as_mut_ptr().cast(), values) };
    }

    #[target_feature(enable = "avx512f")]
    #[inline]
    fn store(values: __m512i, marks: &mut [u16]) {
        let marks: &mut [u16] = &mut marks[..32];
        // SAFETY: 32 values of 16 bits are there to be written, and the instruction asks for no alignment.
        unsafe { _mm512_storeu_si512(marks.as_mut_ptr().cast(), values) };
    }
}
