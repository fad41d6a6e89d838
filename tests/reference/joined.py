"""The queries that put persons, auctions and bids together: q3, q4, q6, q8, q9, q20 and q23, by their final rows. All events
are read first, so it does not matter which of two comes first. Nothing is late in them but in q8, whose windows drop what comes
too late: it is only right for events within the watermark."""

from collections import defaultdict

from events import time_ms, time_text

WINDOW_MS = 10_000
LAST = 10
PERSON = ("id", "name", "emailAddress", "creditCard", "city", "state", "dateTime", "extra")
AUCTION = ("id", "itemName", "description", "initialBid", "reserve", "dateTime", "expires", "seller", "category", "extra")


def read(events):
    """Persons, auctions and bids, each with its times as milliseconds."""
    found = {"person": [], "auction": [], "bid": []}
    for kind, fields, at_ms in events:
        fields = dict(fields, dateTime=at_ms)
        if kind == "auction":
            fields["expires"] = time_ms(fields["expires"])
        found[kind].append(fields)
    return found["person"], found["auction"], found["bid"]


def by(rows, column):
    """The rows of each value of a column; those without one are nowhere."""
    groups = defaultdict(list)
    for row in rows:
        if row.get(column) is not None:
            groups[row[column]].append(row)
    return groups


def valid_bids(auctions, bids):
    """Each auction with the bids between its start and its expiry, if there are any."""
    of_auction = by(bids, "auction")
    for auction in auctions:
        valid = [bid for bid in of_auction[auction["id"]] if auction["dateTime"] <= bid["dateTime"] <= auction["expires"]]
        if valid:
            yield auction, valid


def average(values):
    """Of whole numbers that are not negative, cut."""
    return sum(values) // len(values)


def q3(events, late):
    """Sellers in three states, of auctions in category 10."""
    persons, auctions, _ = read(events)
    sellers = by(persons, "id")
    for auction in auctions:
        for person in sellers[auction["seller"]] if auction["category"] == 10 else ():
            if person["state"] in ("OR", "ID", "CA"):
                yield person["name"], person["city"], person["state"], auction["id"]


def q4(events, late):
    """The average winning price per category."""
    _, auctions, bids = read(events)
    prices = defaultdict(list)
    for auction, valid in valid_bids(auctions, bids):
        prices[auction["category"]].append(max(bid["price"] for bid in valid))
    yield from ((category, average(of)) for category, of in prices.items())


def q6(events, late):
    """The average winning price of the last auctions of each seller."""
    _, auctions, bids = read(events)
    closed = defaultdict(list)
    for auction, valid in valid_bids(auctions, bids):
        closed[auction["seller"]].append((auction["expires"], auction["id"], max(bid["price"] for bid in valid)))
    for seller, of in closed.items():
        yield seller, average([price for _, _, price in sorted(of)[-LAST:]])


def q8(events, late):
    """Persons who opened an auction in the window in which they registered."""
    persons, auctions, _ = read(events)
    window = lambda row: row["dateTime"] // WINDOW_MS * WINDOW_MS
    sold = {(auction["seller"], window(auction)) for auction in auctions}
    new = {(person["id"], person["name"], window(person)) for person in persons}
    for person, name, start in new:
        if (person, start) in sold:
            yield person, name, time_text(start)


def texts(row, columns):
    """The values of these columns, times as they are written."""
    return tuple(time_text(row[name]) if name in ("dateTime", "expires") else row.get(name) for name in columns)


def q9(events, late):
    """The winning bid of each auction."""
    _, auctions, bids = read(events)
    for auction, valid in valid_bids(auctions, bids):
        best = min(valid, key=lambda bid: (-bid["price"], bid["dateTime"]))
        yield texts(auction, AUCTION) + texts(best, ("auction", "bidder", "price", "dateTime", "extra"))


def q20(events, late):
    """Bids with their auction, of category 10."""
    _, auctions, bids = read(events)
    of_id = by((auction for auction in auctions if auction["category"] == 10), "id")
    for bid in bids:
        for auction in of_id[bid["auction"]]:
            yield texts(bid, ("auction", "bidder", "price", "channel", "url", "dateTime", "extra")) + texts(auction, AUCTION[1:])


def q23(events, late):
    """Bids with who made them and what that person sells."""
    persons, auctions, bids = read(events)
    of_id, of_seller = by(persons, "id"), by(auctions, "seller")
    for bid in bids:
        for person in of_id[bid["bidder"]]:
            made = texts(bid, ("bidder", "price", "channel", "url", "extra"))
            maker = texts(person, tuple(name for name in PERSON if name != "dateTime"))
            for auction in of_seller[bid["bidder"]]:
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
