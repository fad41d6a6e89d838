//! The mark in the stream that ends an epoch.

/// The mark that ends an epoch: all that lower block numbers have caused is before it, all else behind it.
///
/// The number is chosen once for all shards, so it is the position of the input for any number of them, and lanes that
/// are taken in the order of their numbers are aligned by it without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here; the first one of a state directory is 1.
    pub epoch: u64,
    /// The first block number behind the barrier.
    pub number: u64,
    /// The first piece of the input behind it, from which reading goes on after a restart.
    pub piece: u64,
}
