//! One lane of the mesh: a ring from one shard to another, and a ring back for what was used up.

use std::collections::VecDeque;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::io::Bell;

/// The producing end of a lane.
pub struct LaneSender<T> {
    ring: Producer<T>,
    used: Consumer<T>,
    waiting: VecDeque<T>,
    bell: Arc<Bell>,
}

/// The consuming end of a lane.
pub struct LaneReceiver<T> {
    ring: Consumer<T>,
    used: Producer<T>,
    bell: Arc<Bell>,
}

/// A lane that holds `capacity` items. `to` is rung when something was sent, `from` when room was made.
#[must_use]
pub fn lane<T>(capacity: usize, from: &Arc<Bell>, to: &Arc<Bell>) -> (LaneSender<T>, LaneReceiver<T>) {
    let (ring, taken) = RingBuffer::new(capacity);
    let (back, used) = RingBuffer::new(capacity);
    let sender = LaneSender { ring, used, waiting: VecDeque::new(), bell: to.clone() };
    (sender, LaneReceiver { ring: taken, used: back, bell: from.clone() })
}

/// The lanes of one exchange: senders `[producer][receiver]` and receivers `[receiver][producer]`.
#[must_use]
#[expect(clippy::type_complexity, reason = "two matrices, each used once, where the shards are built")]
pub fn mesh<T>(
    capacity: usize,
    producers: &[Arc<Bell>],
    receivers: &[Arc<Bell>],
) -> (Vec<Vec<LaneSender<T>>>, Vec<Vec<LaneReceiver<T>>>) {
    let mut receiving: Vec<Vec<LaneReceiver<T>>> = receivers.iter().map(|_| Vec::new()).collect();
    let sending = producers
        .iter()
        .map(|from| {
            let row = receivers.iter().zip(&mut receiving).map(|(to, column)| {
                let (sender, receiver) = lane(capacity, from, to);
                column.push(receiver);
                sender
            });
            row.collect()
        })
        .collect();
    (sending, receiving)
}

impl<T> LaneSender<T> {
    /// Sends an item, or keeps it until there is room; then the sender is no longer [`LaneSender::is_clear`].
    pub fn send(&mut self, item: T) {
        self.waiting.push_back(item);
        self.offer();
    }

    /// Sends an item as [`LaneSender::send`] does, but leaves a receiver that sleeps asleep: [`LaneSender::ring`] wakes it.
    pub fn send_quietly(&mut self, item: T) {
        if self.waiting.is_empty() {
            match self.ring.push(item) {
                Ok(()) => {}
                Err(rtrb::PushError::Full(item)) => self.waiting.push_back(item),
            }
        } else {
            self.send(item);
        }
    }

    /// Wakes the receiver, if it sleeps.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Hands over as much as there is room for. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        let before = self.waiting.len();
        while let Some(item) = self.waiting.pop_front() {
            if let Err(rtrb::PushError::Full(item)) = self.ring.push(item) {
                self.waiting.push_front(item);
                break;
            }
        }
        let sent = self.waiting.len() < before;
        if sent {
            self.bell.ring();
        }
        sent
    }

    /// Whether nothing waits for room.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits for room.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waiting(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter()
    }

    /// An item the receiver has used up, back at its maker: to use again, or to free where it was allocated.
    pub fn take_used(&mut self) -> Option<T> {
        self.used.pop().ok()
    }
}

impl<T> LaneReceiver<T> {
    /// The next item, if there is one.
    pub fn take(&mut self) -> Option<T> {
        let item = self.ring.pop().ok()?;
        self.bell.ring();
        Some(item)
    }

    /// Sends a used-up item back to its maker; frees it here where the way back is full.
    pub fn give_back(&mut self, item: T) {
        // A full ring means that the maker has enough to use again.
        drop(self.used.push(item));
    }
}
