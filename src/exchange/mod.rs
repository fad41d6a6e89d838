//! How batches move to the shard that owns their keys: an n × n mesh of bounded rings, taken in the order of the input.
//!
//! **Order.** Blocks of input are numbered. A producer sends the numbers of its lane in ascending order and ends each,
//! so a receiver that always takes from the lane with the least (unended number, lane) sees every key's rows in file
//! order, and the same order in every run ([`Order`]).
//!
//! **No deadlock.** Claim: while any row is in flight, some stage of some shard can step. Take the least number *N* that
//! some producer of the last blocked exchange has not ended towards some receiver *R*, and its producer *P*. Every
//! receiver of that exchange waits for no lane with a number above *N* before *N* is ended, so *R*'s turn is *P*'s lane.
//! If that lane holds a batch, *R* can take it: *R*'s stage runs independently of *R*'s earlier stages, and its output
//! is not blocked, because the exchange was the last blocked one. If the lane is empty, *P* is not blocked by it: *P*
//! keeps what does not fit a full ring in a list per lane ([`Outbox`]) and offers each lane by itself, so a full ring to
//! another receiver never keeps back what goes to *R*; *P*'s batch of *N* is then either handed over or not made yet,
//! and in the latter case *P*'s lists are empty or *P* holds a batch for a receiver that waits on a number below *N*,
//! against the choice of *N*. The sink behind the last exchange takes its lanes by the same rule. What *P* holds back of
//! ends of blocks while it is busy it tells before it sleeps ([`Outbox::settle`]).
//!
//! A stage may have several exits, and so feed several exchanges and sinks. What it makes of one batch of input, which may
//! span several numbers, goes to all of them, also while one has no room, and is kept in the lists there: else *P* could
//! keep back for one exit the number *N* for which those wait who are to make room at another. It takes the next batch only
//! when all lists are empty, so these hold no more than one batch of input makes; and then the argument above goes through
//! with *N* the least number that has not ended towards any receiver of any exit. Numbers end in the same order at every
//! port of a receiver: lanes are taken by number first.
//!
//! **What the claim rests on.** A keyed stage sends rows of a number only once that number has ended for it: then *P* has
//! sent the end to every lane, or keeps it in a list per lane, and every other shard can end the number too. An operator
//! that makes rows in the middle of a number (a running aggregate, `dedupe`) could otherwise fill its lane with them while
//! the receiver waits for a lower lane to end the same number, whose shard waits for rows that *P*, blocked by the full
//! lane, has not made. So the stage holds such rows until the number has ended ([`Inbox::has_ended`]): not more than what
//! one block of the input makes. That the numbers before it have ended is said to every lane as soon as rows of a number are
//! sent to one, at the latest when *P* has nothing else to do ([`Outbox::send`]): else the receiver of such rows, and with it *P*, could wait for a shard that waits to be
//! told.
//!
//! **Barriers.** A barrier is a block number that is the same for all lanes. Every producer sends it in its lane behind all
//! lower numbers and before all others, so a receiver has everything before it once no lane has a lower number left
//! ([`Taken::Barrier`]); it waits for nothing that it would not wait for anyway, and a producer sends it as it sends
//! the end of a number, so the claim above holds with it.
//!
//! The simulation in `shard/` steps whole machines with rings of one slot in orders that a seed draws.

mod inbox;
mod lane;
mod order;
mod outbox;
mod parcel;
mod partition;
#[cfg(test)]
mod tests;
mod watermark;

pub use inbox::{Inbox, Taken};
pub use lane::{LaneReceiver, LaneSender, lane, mesh};
pub use order::Order;
pub use outbox::Outbox;
pub use parcel::Parcel;
pub use partition::Partition;
pub use watermark::Watermarks;
