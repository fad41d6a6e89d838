//! The queries, each a program of its own. Events come in order of time, so that a window is complete when an event
//! behind its end comes, and nothing is late.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::path::Path;

use super::bids::{self, Bid};
use super::output::Output;
use super::time::Minute;

/// The names of the queries, as those of the pipelines.
pub const NAMES: [&str; 7] = ["q0", "q1", "q2", "q5", "q7", "q11", "qt"];

const WINDOW_MS: i64 = 10_000;
const SLICE_MS: i64 = 2_000;
const GAP_MS: i64 = 10_000;

/// Reads the events and writes the query's rows.
///
/// # Errors
///
/// A file cannot be read or written, or the events are not in order of time.
pub fn run(query: &str, input: &Path, output: &Path) -> io::Result<()> {
    let mut out = Output::create(output)?;
    match query {
        "q0" => q0(input, &mut out)?,
        "q1" => q1(input, &mut out)?,
        "q2" => q2(input, &mut out)?,
        "q5" => q5(input, &mut out)?,
        "q7" => q7(input, &mut out)?,
        "q11" => q11(input, &mut out)?,
        "qt" => qt(input, &mut out)?,
        _ => return Err(io::Error::other(format!("there is no query {query}"))),
    }
    out.flush()
}

/// Integers scattered by one multiplication, as Firefox and rustc do: `HashMap` takes the high bits for its tags, and after
/// the rotation good ones for the place too.
#[derive(Default)]
struct Scatter(u64);

impl Hasher for Scatter {
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
}

type ById<T> = HashMap<u64, T, BuildHasherDefault<Scatter>>;

/// What `gen nexmark --shuffle` writes is refused: a window that is written cannot be corrected.
fn out_of_order() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the events are not in order of time")
}

/// All bids.
fn q0(input: &Path, out: &mut Output) -> io::Result<()> {
    let mut minute = Minute::new();
    bids::each(input, |bid| {
        let (at_ms, extra) = bid.time_and_extra(&mut minute);
        out.text(br#"{"auction":"#).number(bid.auction);
        out.text(br#","bidder":"#).number(bid.bidder);
        out.text(br#","price":"#).number(bid.price);
        out.text(br#","dateTime":""#).time(at_ms);
        out.text(br#"","extra":""#).text(extra).text(b"\"");
        out.end_row()
    })
}

/// All bids, their price times 0.908.
fn q1(input: &Path, out: &mut Output) -> io::Result<()> {
    let mut minute = Minute::new();
    bids::each(input, |bid| {
        let (at_ms, extra) = bid.time_and_extra(&mut minute);
        out.text(br#"{"auction":"#).number(bid.auction);
        out.text(br#","bidder":"#).number(bid.bidder);
        out.text(br#","price":"#).thousandths(bid.price * 908);
        out.text(br#","dateTime":""#).time(at_ms);
        out.text(br#"","extra":""#).text(extra).text(b"\"");
        out.end_row()
    })
}

/// Auction and price of bids on every 123rd auction.
fn q2(input: &Path, out: &mut Output) -> io::Result<()> {
    bids::each(input, |bid| {
        if bid.auction % 123 != 0 {
            return Ok(());
        }
        out.text(br#"{"auction":"#).number(bid.auction);
        out.text(br#","price":"#).number(bid.price);
        out.end_row()
    })
}

/// Bids per auction in windows of 10 s.
fn qt(input: &Path, out: &mut Output) -> io::Result<()> {
    let (mut minute, mut counts) = (Minute::new(), ById::<u64>::default());
    let mut start_ms = i64::MIN;
    bids::each(input, |bid| {
        let at_ms = bid.time(&mut minute);
        let bid_start_ms = at_ms - at_ms.rem_euclid(WINDOW_MS);
        if bid_start_ms != start_ms {
            if bid_start_ms < start_ms {
                return Err(out_of_order());
            }
            qt_window(start_ms, &mut counts, out)?;
            start_ms = bid_start_ms;
        }
        *counts.entry(bid.auction).or_default() += 1;
        Ok(())
    })?;
    qt_window(start_ms, &mut counts, out)
}

fn qt_window(start_ms: i64, counts: &mut ById<u64>, out: &mut Output) -> io::Result<()> {
    for (auction, count) in counts.drain() {
        out.text(br#"{"auction":"#).number(auction);
        out.text(br#","num":"#).number(count);
        out.text(br#","starttime":""#).time(start_ms);
        out.text(br#"","endtime":""#).time(start_ms + WINDOW_MS).text(b"\"");
        out.end_row()?;
    }
    Ok(())
}

/// The auctions with the most bids of the last 10 s, every 2 s.
fn q5(input: &Path, out: &mut Output) -> io::Result<()> {
    let mut minute = Minute::new();
    let mut sliding = Sliding::default();
    let mut slice_start_ms = None;
    bids::each(input, |bid| {
        let at_ms = bid.time(&mut minute);
        let bid_start_ms = at_ms - at_ms.rem_euclid(SLICE_MS);
        let start_ms = *slice_start_ms.get_or_insert(bid_start_ms);
        if bid_start_ms != start_ms {
            if bid_start_ms < start_ms {
                return Err(out_of_order());
            }
            // After as many empty slices as a window has, all windows are empty.
            for _ in 0..((bid_start_ms - start_ms) / SLICE_MS).min(WINDOW_MS / SLICE_MS) {
                sliding.end_slice(out)?;
            }
            slice_start_ms = Some(bid_start_ms);
        }
        sliding.count(bid);
        Ok(())
    })?;
    for _ in 0..WINDOW_MS / SLICE_MS {
        sliding.end_slice(out)?;
    }
    Ok(())
}

/// Counts of a window that moves on by a slice: what comes in is added when its slice ends, what goes out taken off.
#[derive(Default)]
struct Sliding {
    slice: ById<u64>,
    /// The slices that are in the window, oldest first; at most four when none has just ended.
    slices: VecDeque<ById<u64>>,
    window: ById<u64>,
}

impl Sliding {
    #[inline]
    fn count(&mut self, bid: &Bid<'_>) {
        *self.slice.entry(bid.auction).or_default() += 1;
    }

    /// Writes the row or rows of the window that ends with the slice.
    fn end_slice(&mut self, out: &mut Output) -> io::Result<()> {
        for (auction, count) in &self.slice {
            *self.window.entry(*auction).or_default() += count;
        }
        self.slices.push_back(std::mem::take(&mut self.slice));
        let most = self.window.values().copied().max().unwrap_or(0);
        for (auction, count) in self.window.iter().filter(|(_, count)| **count == most) {
            out.text(br#"{"auction":"#).number(*auction);
            out.text(br#","num":"#).number(*count);
            out.end_row()?;
        }
        if i64::try_from(self.slices.len()).expect("a few") < WINDOW_MS / SLICE_MS {
            return Ok(());
        }
        let mut oldest = self.slices.pop_front().expect("there are five");
        for (auction, count) in oldest.drain() {
            let left = self.window.get_mut(&auction).expect("it was added");
            *left -= count;
            if *left == 0 {
                self.window.remove(&auction);
            }
        }
        // Its memory is used again.
        self.slice = oldest;
        Ok(())
    }
}

/// The highest bids of each window of 10 s.
fn q7(input: &Path, out: &mut Output) -> io::Result<()> {
    let mut minute = Minute::new();
    let (mut start_ms, mut highest) = (i64::MIN, Vec::<Highest>::new());
    bids::each(input, |bid| {
        let (at_ms, extra) = bid.time_and_extra(&mut minute);
        let bid_start_ms = at_ms - at_ms.rem_euclid(WINDOW_MS);
        if bid_start_ms != start_ms {
            if bid_start_ms < start_ms {
                return Err(out_of_order());
            }
            q7_window(&mut highest, out)?;
            start_ms = bid_start_ms;
        }
        if highest.first().is_none_or(|first| bid.price >= first.price) {
            if highest.first().is_some_and(|first| bid.price > first.price) {
                highest.clear();
            }
            let (auction, bidder, price) = (bid.auction, bid.bidder, bid.price);
            highest.push(Highest { auction, bidder, price, at_ms, extra: extra.to_vec() });
        }
        Ok(())
    })?;
    q7_window(&mut highest, out)
}

/// A bid that is one of the highest so far.
struct Highest {
    auction: u64,
    bidder: u64,
    price: u64,
    at_ms: i64,
    extra: Vec<u8>,
}

fn q7_window(highest: &mut Vec<Highest>, out: &mut Output) -> io::Result<()> {
    for bid in highest.drain(..) {
        out.text(br#"{"auction":"#).number(bid.auction);
        out.text(br#","bidder":"#).number(bid.bidder);
        out.text(br#","price":"#).number(bid.price);
        out.text(br#","dateTime":""#).time(bid.at_ms);
        out.text(br#"","extra":""#).text(&bid.extra).text(b"\"");
        out.end_row()?;
    }
    Ok(())
}

/// Bids per bidder in sessions with a gap of 10 s. A session is written when its bidder comes again or the input ends:
/// one entry is kept of every bidder there was.
fn q11(input: &Path, out: &mut Output) -> io::Result<()> {
    let mut minute = Minute::new();
    let (mut sessions, mut last_ms) = (ById::<Session>::default(), i64::MIN);
    bids::each(input, |bid| {
        let at_ms = bid.time(&mut minute);
        if at_ms < last_ms {
            return Err(out_of_order());
        }
        last_ms = at_ms;
        let session =
            sessions.entry(bid.bidder).or_insert(Session { start_ms: at_ms, end_ms: at_ms, bids: 0 });
        // A bid exactly a gap after the last still belongs to the session.
        if session.bids > 0 && at_ms > session.end_ms {
            q11_row(bid.bidder, session, out)?;
            *session = Session { start_ms: at_ms, end_ms: at_ms, bids: 0 };
        }
        session.end_ms = at_ms + GAP_MS;
        session.bids += 1;
        Ok(())
    })?;
    for (bidder, session) in &sessions {
        q11_row(*bidder, session, out)?;
    }
    Ok(())
}

struct Session {
    start_ms: i64,
    end_ms: i64,
    bids: u64,
}

fn q11_row(bidder: u64, session: &Session, out: &mut Output) -> io::Result<()> {
    out.text(br#"{"bidder":"#).number(bidder);
    out.text(br#","bid_count":"#).number(session.bids);
    out.text(br#","starttime":""#).time(session.start_ms);
    out.text(br#"","endtime":""#).time(session.end_ms).text(b"\"");
    out.end_row()
}
