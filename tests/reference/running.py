"""The queries without windows, q15 to q19, by their final rows: nothing is late, and every bid counts."""

import heapq
from collections import defaultdict

from events import bids, row_of, time_text

# Prices below the first are of rank 1, below the second of rank 2, all others of rank 3.
RANKS = (10_000, 1_000_000)
BID = ("auction", "bidder", "price", "channel", "url", "dateTime", "extra")
BEST = 10


def rank(price):
    """1, 2 or 3; none for no price."""
    return None if price is None else 1 + sum(price >= bound for bound in RANKS)


def day(at_ms):
    return time_text(at_ms)[:10]


class Statistics:
    """Bids in all and per rank, and the distinct bidders and auctions of each."""

    def __init__(self):
        self.bids = [0] * 4
        self.bidders = [set() for _ in range(4)]
        self.auctions = [set() for _ in range(4)]
        self.minute = ""

    def add(self, bid, at_ms):
        for place in {0, rank(bid.get("price"))} - {None}:
            self.bids[place] += 1
            self.bidders[place].add(bid.get("bidder"))
            self.auctions[place].add(bid.get("auction"))
        self.minute = max(self.minute, time_text(at_ms)[11:16])

    def row(self):
        distinct = [len(values - {None}) for values in self.bidders + self.auctions]
        return *self.bids, *distinct


def q15(events, late):
    """Per day: bids, distinct bidders and distinct auctions, each in all and per rank of price."""
    days = defaultdict(Statistics)
    for bid, at_ms in bids(events):
        days[day(at_ms)].add(bid, at_ms)
    for of_day, statistics in days.items():
        yield of_day, *statistics.row()


def q16(events, late):
    """The same per channel and day, with the latest minute of the day."""
    groups = defaultdict(Statistics)
    for bid, at_ms in bids(events):
        groups[bid.get("channel"), day(at_ms)].add(bid, at_ms)
    for (channel, of_day), statistics in groups.items():
        yield channel, of_day, statistics.minute, *statistics.row()


def q17(events, late):
    """Per auction and day: bids in all and per rank; the least, greatest, average and summed price. The average of
    integers is an integer, cut towards 0."""
    groups = defaultdict(lambda: ([0] * 4, []))
    for bid, at_ms in bids(events):
        counts, prices = groups[bid.get("auction"), day(at_ms)]
        price = bid.get("price")
        counts[0] += 1
        if price is not None:
            counts[rank(price)] += 1
            prices.append(price)
    for (auction, of_day), (counts, prices) in groups.items():
        total = sum(prices)
        average = abs(total) // len(prices) * (-1 if total < 0 else 1) if prices else None
        least, most = min(prices, default=None), max(prices, default=None)
        yield auction, of_day, *counts, least, most, average, total if prices else None


def q18(events, late):
    """The last bid of each bidder on each auction, by event time; of those at one time the one that came last."""
    last = {}
    for bid, at_ms in bids(events):
        key = bid.get("bidder"), bid.get("auction")
        if key not in last or at_ms >= last[key][0]:
            last[key] = at_ms, bid
    for at_ms, bid in last.values():
        yield row_of(bid, at_ms, BID)


def q19(events, late):
    """The ten highest bids of each auction and their rank; of those at one price the earlier arrival comes first."""
    best = defaultdict(list)
    for arrival, (bid, at_ms) in enumerate(bids(events)):
        # No price is the lowest.
        price = bid.get("price")
        place = (price is not None, price or 0, -arrival)
        entry = place, (bid, at_ms)
        highest = best[bid.get("auction")]
        if len(highest) < BEST:
            heapq.heappush(highest, entry)
        elif place > highest[0][0]:
            heapq.heapreplace(highest, entry)
    for highest in best.values():
        for place, (_, (bid, at_ms)) in enumerate(sorted(highest, reverse=True), 1):
            yield *row_of(bid, at_ms, BID), place
