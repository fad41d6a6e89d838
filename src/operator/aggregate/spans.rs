//! From when to when sessions are, and whether they have been sent.

use std::collections::HashMap;

use crate::state::{Bits, Pages};

/// The spans of sessions by number: 12 bytes each.
#[derive(Default)]
pub(super) struct Spans {
    starts_ms: Pages<i64>,
    /// Lengths; 0 for a number without a session, [`LONG`] for one whose length is in `long_ms`.
    lengths_ms: Pages<u32>,
    /// Sessions of 49 days and more.
    long_ms: HashMap<u32, i64>,
    /// Bit by bit, whether the session was sent and may still change. Grown when the first one is.
    sent: Bits,
}

const LONG: u32 = u32::MAX;

impl Spans {
    /// Makes room for numbers below `numbers`.
    pub fn resize(&mut self, numbers: usize) {
        if self.starts_ms.len() < numbers {
            self.starts_ms.resize(numbers);
            self.lengths_ms.resize(numbers);
        }
    }

    /// Start and end of a session, milliseconds; the end is exclusive.
    pub fn get(&self, session: u32) -> (i64, i64) {
        let start_ms = self.starts_ms[session as usize];
        let length_ms = match self.lengths_ms[session as usize] {
            LONG => self.long_ms[&session],
            length => i64::from(length),
        };
        (start_ms, start_ms.saturating_add(length_ms))
    }

    /// Sets start and end.
    pub fn set(&mut self, session: u32, start_ms: i64, end_ms: i64) {
        self.starts_ms[session as usize] = start_ms;
        let length_ms = end_ms.saturating_sub(start_ms);
        self.lengths_ms[session as usize] = match u32::try_from(length_ms) {
            Ok(length) if length < LONG => length,
            _ => {
                self.long_ms.insert(session, length_ms);
                LONG
            }
        };
    }

    /// Whether there is a session of this number.
    pub fn is_there(&self, session: u32) -> bool {
        self.lengths_ms[session as usize] != 0
    }

    /// Forgets a session.
    pub fn clear(&mut self, session: u32) {
        if std::mem::take(&mut self.lengths_ms[session as usize]) == LONG {
            self.long_ms.remove(&session);
        }
        self.sent.clear(session);
    }

    /// Whether a session has been sent.
    pub fn is_sent(&self, session: u32) -> bool {
        self.sent.get(session)
    }

    /// Notes whether a session has been sent.
    pub fn mark_sent(&mut self, session: u32, is_sent: bool) {
        if is_sent {
            self.sent.set(session);
        } else {
            self.sent.clear(session);
        }
    }

    /// The heap bytes held, about.
    pub fn bytes(&self) -> usize {
        self.starts_ms.bytes() + self.lengths_ms.bytes() + self.sent.bytes() + self.long_ms.capacity() * 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_any_length_come_back() {
        let mut spans = Spans::default();
        spans.resize(3);
        let long = i64::from(u32::MAX) * 5;
        for (session, start, end) in [(0, -5, 5), (1, -long, long), (2, 7, 7 + i64::from(LONG))] {
            spans.set(session, start, end);
            assert_eq!(spans.get(session), (start, end));
        }
        spans.mark_sent(1, true);
        assert!(spans.is_sent(1) && !spans.is_sent(0) && spans.is_there(1));
        spans.clear(1);
        assert!(!spans.is_there(1) && !spans.is_sent(1) && spans.long_ms.len() == 1);
    }
}
