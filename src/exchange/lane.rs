//! One lane of the mesh: a ring from one shard to another, and a ring back for what was used up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::io::Bell;

/// The producing end of a lane.
pub struct LaneSender<T> {
    ring: Producer<T>,
    used: Consumer<T>,
    waiting: VecDeque<T>,
    wants: Arc<Wants>,
    bell: Arc<Bell>,
}

/// The consuming end of a lane.
pub struct LaneReceiver<T> {
    ring: Consumer<T>,
    used: Producer<T>,
    wants: Arc<Wants>,
    bell: Arc<Bell>,
}

/// What the ends of a lane wait for. A shard has many lanes and waits for few of them: it is woken only for these.
#[derive(Default)]
struct Wants {
    /// The receiver has found nothing.
    item: Want,
    /// The sender has found no room.
    room: Want,
}

/// Whether one end waits for the other. As with the bell, an end looks once more after it has said so, and the other end
/// asks after it has done something (Dekker's pattern): one of them sees the other.
#[derive(Default)]
struct Want(AtomicBool);

impl Want {
    /// Says so. The caller looks once more.
    fn say(&self) {
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
    }

    /// Rings if the other end waits.
    fn meet(&self, bell: &Bell) {
        fence(Ordering::SeqCst);
        if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel) {
            bell.ring();
        }
    }
}

/// A lane that holds `capacity` items. `to` is rung when there is something for a receiver that has found nothing, `from`
/// when there is room for a sender that has found none.
#[must_use]
pub fn lane<T>(capacity: usize, from: &Arc<Bell>, to: &Arc<Bell>) -> (LaneSender<T>, LaneReceiver<T>) {
    let (ring, taken) = RingBuffer::new(capacity);
    let (back, used) = RingBuffer::new(capacity);
    let wants = Arc::new(Wants::default());
    let sender = LaneSender { ring, used, waiting: VecDeque::new(), wants: wants.clone(), bell: to.clone() };
    (sender, LaneReceiver { ring: taken, used: back, wants, bell: from.clone() })
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
        self.send_quietly(item);
        self.ring();
    }

    /// Sends an item as [`LaneSender::send`] does, but leaves a receiver that sleeps asleep: [`LaneSender::ring`] wakes it.
    pub fn send_quietly(&mut self, item: T) {
        if !self.waiting.is_empty() {
            self.offer();
        }
        if self.waiting.is_empty() {
            match self.push(item) {
                Ok(()) => {}
                Err(item) => self.waiting.push_back(item),
            }
        } else {
            self.waiting.push_back(item);
        }
    }

    /// Wakes the receiver, if it sleeps and waits for this lane.
    pub fn ring(&self) {
        self.wants.item.meet(&self.bell);
    }

    /// Hands over as much as there is room for. Returns whether anything went.
    pub fn offer(&mut self) -> bool {
        let before = self.waiting.len();
        while let Some(item) = self.waiting.pop_front() {
            if let Err(item) = self.push(item) {
                self.waiting.push_front(item);
                break;
            }
        }
        let sent = self.waiting.len() < before;
        if sent {
            self.ring();
        }
        sent
    }

    /// Puts an item into the ring; what finds no room comes back, and the receiver knows that room is wanted.
    fn push(&mut self, item: T) -> Result<(), T> {
        self.ring.push(item).or_else(|PushError::Full(item)| {
            self.wants.room.say();
            self.ring.push(item).map_err(|PushError::Full(item)| item)
        })
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
        let item = self.ring.pop().or_else(|_| {
            self.wants.item.say();
            self.ring.pop()
        });
        let item = item.ok()?;
        self.wants.room.meet(&self.bell);
        Some(item)
    }

    /// Sends a used-up item back to its maker; frees it here where the way back is full.
    pub fn give_back(&mut self, item: T) {
        // A full ring means that the maker has enough to use again.
        drop(self.used.push(item));
    }
}
