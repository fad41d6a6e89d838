//! How the blocks of an input are numbered: every piece has as many numbers as every other.

use super::Opening;

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
}

impl Numbering {
    /// The numbers from where `opening` goes on, `blocks` of them per piece.
    pub fn of(opening: &Opening, blocks: u64) -> Self {
        let (piece, number) =
            opening.resume.as_ref().map_or((0, 0), |resume| (resume.barrier.piece, resume.barrier.number));
        Self { piece, number, blocks }
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
        self.number.saturating_add((piece - self.piece).saturating_mul(self.blocks))
    }

    /// The piece that the block `number` belongs to.
    pub fn piece(&self, number: u64) -> u64 {
        self.piece + (number - self.number) / self.blocks
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
        for (piece, number, blocks, shards, pieces, first) in [
            (0, 0, 16, 3, vec![0, 1, 2], vec![0, 16, 32]),
            (7, 112, 16, 3, vec![9, 7, 8], vec![144, 112, 128]),
            (8, 131, 1, 2, vec![8, 9], vec![131, 132]),
            (8, 131, 4, 1, vec![8], vec![131]),
        ] {
            let numbering = Numbering { piece, number, blocks };
            let dealt: Vec<u64> = (0..shards).map(|shard| numbering.first_piece(shard, shards)).collect();
            assert_eq!((dealt, numbering.first(shards)), (pieces, first), "{numbering:?}");
            for piece in piece..piece + 9 {
                let number = numbering.number(piece);
                assert_eq!((numbering.piece(number), numbering.piece(number + blocks - 1)), (piece, piece));
            }
        }
    }
}
