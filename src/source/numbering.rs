//! How the blocks of an input are numbered: every piece has as many numbers as every other. Where there are several
//! sources, their pieces take turns.

use std::ops::Range;

use super::{Opening, Turn};

/// The block numbers of an input's pieces, from the piece at which this run goes on.
///
/// A restart may find other numbers of blocks per piece than the run before had; what lies behind the barrier is
/// counted anew from there, so numbers only ever rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    /// The first piece that this run reads.
    piece: u64,
    /// Its first block number.
    number: u64,
    /// How many numbers a piece has.
    blocks: u64,
    /// How many numbers there are from the beginning of a piece to that of the next one of any source.
    stride: u64,
    turn: Turn,
}

/// How many numbers a piece has where sources take turns: no source needs more.
const STRIDE: u64 = 1 << 20;

impl Numbering {
    /// The numbers from where `opening` goes on, `blocks` of them per piece.
    pub fn of(opening: &Opening, blocks: u64) -> Self {
        let (piece, number) =
            opening.resume.as_ref().map_or((0, 0), |resume| (resume.barrier.piece, resume.barrier.number));
        let stride = if opening.turn == Turn::ALONE { blocks } else { STRIDE };
        debug_assert!(blocks <= stride);
        Self { piece, number, blocks, stride, turn: opening.turn }
    }

    /// The same numbers where the piece that this run begins with is called `piece`.
    pub fn beginning_with(self, piece: u64) -> Self {
        Self { piece, ..self }
    }

    /// The first piece that this run reads.
    pub fn start(&self) -> u64 {
        self.piece
    }

    /// The first block number of this run.
    pub fn start_number(&self) -> u64 {
        self.number
    }

    /// How many block numbers a piece has.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The first block number of `piece`.
    pub fn number(&self, piece: u64) -> u64 {
        let Turn { ahead, of, .. } = self.turn;
        let turns = (piece - self.piece).saturating_mul(of as u64).saturating_add(ahead);
        self.number.saturating_add(turns.saturating_mul(self.stride))
    }

    /// The block numbers of `piece`.
    pub fn numbers(&self, piece: u64) -> Range<u64> {
        let first = self.number(piece);
        first..first.saturating_add(self.stride)
    }

    /// The first piece that is not wholly before the block `number`.
    pub fn piece(&self, number: u64) -> u64 {
        let Turn { ahead, of, .. } = self.turn;
        let turns = (number - self.number) / self.stride;
        // The pieces of this source whose turn was before.
        self.piece + turns.saturating_sub(ahead).div_ceil(of as u64)
    }

    /// How many turns there are from the block `number` to that of this source's next piece.
    pub fn turns_ahead(&self, number: u64) -> u64 {
        self.number(self.piece(number)).saturating_sub(number).div_ceil(self.stride)
    }

    /// The first piece of a shard: piece k goes to shard k mod n.
    pub fn first_piece(&self, shard: usize, shards: usize) -> u64 {
        let (shard, shards) = (shard as u64, shards as u64);
        self.piece + (shard + shards - self.piece % shards) % shards
    }

    /// The first block number of each shard, `[shard]`.
    pub fn first(&self, shards: usize) -> Vec<u64> {
        (0..shards).map(|shard| self.number(self.first_piece(shard, shards))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_dealt_from_wherever_a_run_begins() {
        let turn = Turn::ALONE;
        for (piece, number, blocks, shards, pieces, first) in [
            (0, 0, 16, 3, vec![0, 1, 2], vec![0, 16, 32]),
            (7, 112, 16, 3, vec![9, 7, 8], vec![144, 112, 128]),
            (8, 131, 1, 2, vec![8, 9], vec![131, 132]),
            (8, 131, 4, 1, vec![8], vec![131]),
        ] {
            let numbering = Numbering { piece, number, blocks, stride: blocks, turn };
            let dealt: Vec<u64> = (0..shards).map(|shard| numbering.first_piece(shard, shards)).collect();
            assert_eq!((dealt, numbering.first(shards)), (pieces, first), "{numbering:?}");
            for piece in piece..piece + 9 {
                let number = numbering.number(piece);
                assert_eq!((numbering.piece(number), numbering.piece(number + blocks - 1)), (piece, piece));
            }
        }
    }

    #[test]
    fn the_pieces_of_several_sources_take_turns() {
        let numbering = |place| Numbering {
            piece: 5 + place as u64,
            number: 1000,
            blocks: 4,
            stride: 10,
            turn: Turn { place, of: 3, ahead: place as u64 },
        };
        let (first, second, third) = (numbering(0), numbering(1), numbering(2));
        assert_eq!(
            (first.numbers(5), second.numbers(6), third.numbers(7)),
            (1000..1010, 1010..1020, 1020..1030)
        );
        assert_eq!((first.numbers(6), second.numbers(8)), (1030..1040, 1070..1080));
        // At a barrier behind the second turn of the first source.
        assert_eq!((first.piece(1040), second.piece(1040), third.piece(1040)), (7, 7, 8));
        assert_eq!((first.piece(1000), second.piece(1000), third.piece(1000)), (5, 6, 7));
        // A run that begins there has the same order: the second source is next, then the third.
        let ahead = |at| [first.turns_ahead(at), second.turns_ahead(at), third.turns_ahead(at)];
        assert_eq!((ahead(1000), ahead(1040)), ([0, 1, 2], [2, 0, 1]));
        let again = |numbering: Numbering, place| Numbering {
            piece: numbering.piece(1040),
            number: 1040,
            turn: Turn { place, of: 3, ahead: numbering.turns_ahead(1040) },
            ..numbering
        };
        for (place, numbering) in [first, second, third].into_iter().enumerate() {
            for piece in 8..20 {
                assert_eq!(again(numbering, place).number(piece), numbering.number(piece));
            }
        }
        // Amid a piece.
        assert_eq!((ahead(1035), ahead(1015)), ([0, 1, 2], [2, 0, 1]));
        assert_eq!((first.piece(1035), second.piece(1015), third.piece(1015)), (6, 6, 7));
    }
}
