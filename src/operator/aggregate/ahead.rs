//! Up to where windows of the wall clock have been fired, behind a restart.
//!
//! Every shard fires such windows by its own clock. Those that go on from the state of several shards go on where the
//! slowest of them was; the keys of the others are then left out of the windows that have been sent of them already.
//! Nothing joins such a window meanwhile: rows count at the present time, which is behind the ends of all of them.

use std::collections::BTreeMap;

use crate::operator::key_bytes::KeyBytes;
use crate::record::KeyCodec;
use crate::state::Groups;
use crate::time::WATERMARK_MIN;

/// The keys whose windows have been fired further than this shard's.
#[derive(Default)]
pub(super) struct Ahead {
    /// Up to where each of the shards that were saved had fired, milliseconds.
    pub shards_fired_ms: Vec<i64>,
    /// Keys by up to where their windows have been fired, milliseconds.
    keys: BTreeMap<i64, Groups>,
}

impl Ahead {
    /// Takes note of keys and up to where the windows of each have been fired, milliseconds.
    pub fn note(&mut self, keys: &KeyBytes, fired_ms: &[i64]) {
        for (row, fired_ms) in fired_ms.iter().enumerate() {
            let key = keys.key(row);
            self.keys.entry(*fired_ms).or_default().number(KeyCodec::hash(key), key);
        }
    }

    /// Up to where all windows of all keys have been fired, milliseconds. Called once all keys have been noted.
    pub fn start(&mut self) -> i64 {
        let start_ms = self.shards_fired_ms.drain(..).min().unwrap_or(WATERMARK_MIN);
        self.forget(start_ms);
        start_ms
    }

    /// The numbers of the groups for which the window that ends at `end_ms` has yet to be fired. Windows are asked for
    /// in the order of their ends.
    pub fn without_fired(&mut self, end_ms: i64, groups: &Groups) -> Vec<u32> {
        let mut numbers = groups.numbers();
        if self.keys.is_empty() {
            return numbers;
        }
        self.forget(end_ms - 1);
        numbers.retain(|number| {
            let key = groups.key(*number);
            let hash = KeyCodec::hash(key);
            self.keys.values().all(|fired| fired.find(hash, key).is_none())
        });
        numbers
    }

    /// Forgets the keys whose windows have been fired up to here at most.
    fn forget(&mut self, fired_ms: i64) {
        self.keys = self.keys.split_off(&fired_ms.saturating_add(1));
    }
}
