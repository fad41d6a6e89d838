"""The queries with windows: qt, q5, q7, q11, and what is known of q12.

A window fires when the watermark reaches its last millisecond; a bid that finds all windows fired that it could still
count in is late, and noted in `late` as (fields, event time). What is open when the input ends fires then.
"""

from collections import defaultdict
from math import inf

from events import bids, bids_and_watermarks, row_of, time_text

WINDOW_MS = 10_000
EVERY_MS = 2_000
GAP_MS = 10_000
SESSION = ("bidder", "bid_count", "starttime", "endtime")


def slices(events, slice_ms, size_ms, late, new, add):
    """The windows of `size_ms`, one every `slice_ms`, as they fire: their ends and the slices in them that hold a bid.
    Bids are kept in slices; a late one is one whose slice is in no window that is still to fire, so that a bid may come
    too late for the first of its windows and still count in those after."""
    kept, fired_to_ms, watermark_ms = defaultdict(new), -inf, -inf

    def fire(up_to_ms):
        """All windows with something in them whose last millisecond is not above `up_to_ms`, which have not fired."""
        nonlocal fired_to_ms
        ends = {first + step for first in kept for step in range(0, size_ms, slice_ms)}
        for end_ms in sorted(end for end in ends if fired_to_ms < end - 1 <= up_to_ms):
            inside = (end_ms - step for step in range(0, size_ms, slice_ms))
            yield end_ms, [kept[end] for end in inside if end in kept]
        fired_to_ms = up_to_ms
        for end_ms in [end for end in kept if end + size_ms - slice_ms - 1 <= up_to_ms]:
            del kept[end_ms]

    # Where no window ends, nothing fires: a watermark moves thousands of times between two.
    next_end_ms = -inf
    for bid, at_ms, moved_ms in bids_and_watermarks(events):
        if bid is None:
            watermark_ms = moved_ms
            if watermark_ms >= next_end_ms - 1:
                yield from fire(watermark_ms)
                next_end_ms = (watermark_ms + 1) // slice_ms * slice_ms + slice_ms
            continue
        end_ms = at_ms // slice_ms * slice_ms + slice_ms
        if end_ms + size_ms - slice_ms - 1 <= watermark_ms:
            late.append((bid, at_ms))
        else:
            add(kept[end_ms], bid, at_ms)
    yield from fire(inf)


def count(counts, bid, at_ms):
    counts[bid.get("auction")] += 1


def counted(events, slice_ms, late):
    """Bids per auction in windows of 10 s: the end of each window and its counts."""
    for end_ms, parts in slices(events, slice_ms, WINDOW_MS, late, lambda: defaultdict(int), count):
        counts = defaultdict(int)
        for part in parts:
            for auction, bids_in_part in part.items():
                counts[auction] += bids_in_part
        yield end_ms, counts


def with_windows(windows):
    for end_ms, counts in windows:
        start, end = time_text(end_ms - WINDOW_MS), time_text(end_ms)
        for auction, bids_in_window in counts.items():
            yield auction, bids_in_window, start, end


def qt(events, late):
    """Bids per auction in tumbling windows of 10 s."""
    yield from with_windows(counted(events, WINDOW_MS, late))


def q5_counts(events, late):
    """Bids per auction in windows of 10 s, one every 2 s: what q5 takes the highest of."""
    yield from with_windows(counted(events, EVERY_MS, late))


def q5(events, late):
    """The auctions with the most bids of each 10 s, every 2 s: all of them where several have as many."""
    for _, counts in counted(events, EVERY_MS, late):
        most = max(counts.values())
        for auction, bids_in_window in counts.items():
            if bids_in_window == most:
                yield auction, bids_in_window


Q7 = ("auction", "bidder", "price", "dateTime", "extra")


def q7(events, late):
    """The bids with the highest price of each 10 s: all of them where several are as high. No price is the lowest."""

    def add(highest, bid, at_ms):
        price = bid.get("price")
        price = price is not None, price or 0
        if highest and price > highest[0][0]:
            highest.clear()
        if not highest or price == highest[0][0]:
            highest.append((price, row_of(bid, at_ms, Q7)))

    for _, parts in slices(events, WINDOW_MS, WINDOW_MS, late, list, add):
        for part in parts:
            for _, row in part:
                yield row


def q11(events, late):
    """Bids per bidder in sessions: bids at most 10 s apart belong together. A late bid is one whose session, merged with
    those it touches, would end before the watermark; what has fired is no longer there to be touched."""
    open_sessions, watermark_ms = defaultdict(list), -inf
    for bid, at_ms, moved_ms in bids_and_watermarks(events):
        if bid is None:
            watermark_ms = moved_ms
            continue
        bidder = bid.get("bidder")
        # Whether a session fires at the watermark that reaches it or when its bidder comes again is the same.
        fired = [session for session in open_sessions[bidder] if session[1] - 1 <= watermark_ms]
        yield from session_rows(bidder, fired)
        sessions = [session for session in open_sessions[bidder] if session[1] - 1 > watermark_ms]
        start_ms, end_ms, bids_in_session = at_ms, at_ms + GAP_MS, 1
        touched = [session for session in sessions if session[0] <= end_ms and start_ms <= session[1]]
        for start, end, bids_before in touched:
            start_ms, end_ms = min(start_ms, start), max(end_ms, end)
            bids_in_session += bids_before
        if end_ms - 1 <= watermark_ms:
            late.append((bid, at_ms))
            open_sessions[bidder] = sessions
        else:
            apart = [session for session in sessions if session not in touched]
            open_sessions[bidder] = apart + [(start_ms, end_ms, bids_in_session)]
    for bidder, sessions in open_sessions.items():
        yield from session_rows(bidder, sessions)


def session_rows(bidder, sessions):
    for start_ms, end_ms, bids_in_session in sessions:
        yield bidder, bids_in_session, time_text(start_ms), time_text(end_ms)


def q12(events, late):
    """Bids per bidder in all. How they fall into windows of processing time, the clock decides: a check adds them up."""
    totals = defaultdict(int)
    for bid, _ in bids(events):
        totals[bid.get("bidder")] += 1
    yield from totals.items()
