//! Wakes a parked thread: rung by peers after they have handed something over.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

/// What a shard sleeps on. One owner arms it and waits; anybody rings.
///
/// The owner arms, looks once more for work, and only then sleeps; a peer hands over, then rings. The two fences make
/// sure that either the owner sees the work or the peer sees the bell armed (Dekker's pattern).
#[derive(Debug, Default)]
pub struct Bell {
    armed: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    /// Wakes the owner if it sleeps or is about to; otherwise costs a fence and a load.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.armed.load(Ordering::Relaxed) && self.armed.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Announces that the owner is about to sleep. It must look for work once more afterwards.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Takes the announcement back.
    pub fn disarm(&self) {
        self.armed.store(false, Ordering::Relaxed);
    }

    /// Ready once the bell was rung after [`Bell::arm`].
    pub fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.armed.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}
