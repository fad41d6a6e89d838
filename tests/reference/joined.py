"""The queries that put persons, auctions and bids together: q3, q4, q6, q8, q9, q20 and q23, by their final rows. All events
are read first, so it does not matter which of two comes first; of bids on one auction with one price and one time it is not
known which wins. Nothing is late in them but in q8, whose windows drop persons and auctions that come too late. Ids need not
be of one row alone, and NULLs are equal to nothing."""

from collections import defaultdict

from events import OUT_OF_ORDER_MS, time_ms, time_text

WINDOW_MS = 10_000
LAST = 10
PERSON = ("id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra")
AUCTION = ("id", "itemName", "description", "initialBid", "reserve", "dateTime", "expires", "seller", "category", "extra")


def with_times(fields, at_ms):
    """An event's fields, the times as milliseconds."""
    expires = fields.get("expires")
    return dict(fields, dateTime=at_ms, expires=None if expires is None else time_ms(expires))


def read(events):
    """Persons, auctions and bids."""
    found = {"person": [], "auction": [], "bid": []}
    for kind, fields, at_ms in events:
        found[kind].append(with_times(fields, at_ms))
    return found["person"], found["auction"], found["bid"]


def by(rows, column):
    """The rows of each value of a column; those without one are nowhere."""
    groups = defaultdict(list)
    for row in rows:
        if row.get(column) is not None:
            groups[row[column]].append(row)
    return groups


def is_valid(auction, bid):
    """Whether a bid on it lies between an auction's start and its expiry."""
    return auction["expires"] is not None and auction["dateTime"] <= bid["dateTime"] <= auction["expires"]


def valid_bids(auctions, bids):
    """Each auction with each of its bids between its start and its expiry."""
    of_auction = by(bids, "auction")
    for auction in auctions:
        for bid in of_auction.get(auction.get("id"), ()):
            if is_valid(auction, bid):
                yield auction, bid


def winning_prices(auctions, bids, columns):
    """The highest price, if there is one, of each group of valid bids that have these columns of the auction in common."""
    prices = defaultdict(list)
    for auction, bid in valid_bids(auctions, bids):
        prices[tuple(auction.get(name) for name in columns)].append(bid.get("price"))
    for group, of in prices.items():
        yield group, max((price for price in of if price is not None), default=None)


def average(values):
    """Of whole numbers, cut towards 0; NULLs do not count."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    total = sum(known)
    return abs(total) // len(known) * (1 if total >= 0 else -1)


def q3(events, late):
    """Sellers in three states, of auctions in category 10."""
    persons, auctions, _ = read(events)
    sellers = by(persons, "id")
    for auction in auctions:
        for person in sellers.get(auction.get("seller"), ()) if auction.get("category") == 10 else ():
            if person.get("state") in ("OR", "ID", "CA"):
                yield person.get("name"), person.get("city"), person.get("state"), auction.get("id")


def q4(events, late):
    """The average winning price per category."""
    _, auctions, bids = read(events)
    prices = defaultdict(list)
    for (_, category), price in winning_prices(auctions, bids, ("id", "category")):
        prices[category].append(price)
    yield from ((category, average(of)) for category, of in prices.items())


def q6(events, late):
    """The average winning price of the last auctions of each seller."""
    _, auctions, bids = read(events)
    closed = defaultdict(list)
    for (auction, seller, expires), price in winning_prices(auctions, bids, ("id", "seller", "expires")):
        closed[seller].append((expires, auction, price))
    for seller, of in closed.items():
        yield seller, average([price for _, _, price in sorted(of, key=lambda one: one[:2])[-LAST:]])


def q8(events, late):
    """Persons who opened an auction in the window in which they registered."""
    sold, new, highest_ms = set(), set(), None
    for kind, fields, at_ms in events:
        start_ms = at_ms // WINDOW_MS * WINDOW_MS
        is_late = highest_ms is not None and start_ms + WINDOW_MS - 1 <= highest_ms - OUT_OF_ORDER_MS
        highest_ms = at_ms if highest_ms is None else max(highest_ms, at_ms)
        if is_late and kind != "bid":
            late.append((fields, at_ms))
        elif kind == "auction" and fields.get("seller") is not None:
            sold.add((fields["seller"], start_ms))
        elif kind == "person":
            new.add((fields.get("id"), fields.get("name"), start_ms))
    for person, name, start_ms in new:
        if (person, start_ms) in sold:
            yield person, name, time_text(start_ms)


def texts(row, columns):
    """The values of these columns, times as they are written."""
    values = ((name, row.get(name)) for name in columns)
    return tuple(
        time_text(value) if name in ("dateTime", "expires") and value is not None else value for name, value in values
    )


def q9(events, late):
    """The winning bid of each auction: no price is the lowest."""
    _, auctions, bids = read(events)
    best = {}
    for auction, bid in valid_bids(auctions, bids):
        price = bid.get("price")
        place = (price is None, -(price or 0), bid["dateTime"])
        if auction["id"] not in best or place < best[auction["id"]][0]:
            best[auction["id"]] = place, auction, bid
    for _, auction, bid in best.values():
        yield texts(auction, AUCTION) + texts(bid, ("auction", "bidder", "price", "dateTime", "extra"))


def q20(events, late):
    """Bids with their auction, of category 10."""
    _, auctions, bids = read(events)
    of_id = by((auction for auction in auctions if auction.get("category") == 10), "id")
    for bid in bids:
        for auction in of_id.get(bid.get("auction"), ()):
            yield texts(bid, ("auction", "bidder", "price", "channel", "url", "dateTime", "extra")) + texts(auction, AUCTION[1:])


def q23(events, late):
    """Bids with who made them and what that person sells."""
    persons, auctions, bids = read(events)
    of_id, of_seller = by(persons, "id"), by(auctions, "seller")
    for bid in bids:
        for person in of_id.get(bid.get("bidder"), ()):
            made = texts(bid, ("bidder", "price", "channel", "url", "extra"))
            maker = texts(person, tuple(name for name in PERSON if name != "dateTime"))
            for auction in of_seller.get(bid["bidder"], ()):
                yield made + maker + texts(auction, AUCTION[1:])


SOLD = ("itemName", "description", "initialBid", "reserve", "auction_dateTime", "expires", "seller", "category", "auction_extra")
QUERIES = {
    "q3": (q3, ("name", "city", "state", "id")),
    "q4": (q4, ("id", "final")),
    "q6": (q6, ("seller", "avg_price")),
    "q8": (q8, ("id", "name", "stime")),
    "q9": (q9, (*AUCTION, "auction", "bidder", "price", "bid_dateTime", "bid_extra")),
    "q20": (q20, ("auction", "bidder", "price", "channel", "url", "bid_dateTime", "bid_extra", *SOLD)),
    "q23": (
        q23,
        (
            *("bidder", "price", "channel", "url", "bid_extra", "person_id", "name", "emailAddress", "creditCard"),
            *("city", "state", "person_extra", *SOLD),
        ),
    ),
}
