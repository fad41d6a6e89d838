"""The queries that look at one event at a time: q0, q1, q2, q10, q13, q14, q21 and q22. Nothing is late in them."""

from decimal import Context, Decimal

from events import bids, time_text

BID = ("auction", "bidder", "price", "dateTime", "extra")
EURO = Decimal("0.908")
NAMED_CHANNELS = {"apple": "0", "google": "1", "facebook": "2", "baidu": "3"}

# No result is rounded: a DECIMAL has at most 38 digits.
EXACT = Context(prec=80)


def in_euro(price):
    """A price in euro, exactly: DECIMAL(23, 3)."""
    return None if price is None else EXACT.multiply(EURO, price)


def q0(events, late):
    """Bids, passed through."""
    for bid, at_ms in bids(events):
        yield bid.get("auction"), bid.get("bidder"), bid.get("price"), time_text(at_ms), bid.get("extra")


def q1(events, late):
    """Bids, their price in euro."""
    for bid, at_ms in bids(events):
        yield bid.get("auction"), bid.get("bidder"), in_euro(bid.get("price")), time_text(at_ms), bid.get("extra")


def q2(events, late):
    """Auction and price of bids on every 123rd auction."""
    for bid, _ in bids(events):
        auction = bid.get("auction")
        if auction is not None and auction % 123 == 0:
            yield auction, bid.get("price")


def q10(events, late):
    """Bids, each with the folder that it belongs into."""
    for row in q0(events, late):
        time = row[3]
        yield *row, f"dt={time[:10]}/hm={time[11:16]}"


def q13(events, late):
    """Bids with the value of their auction in a table of 10,000 rows, whose values are their keys as text."""
    for bid, at_ms in bids(events):
        auction = bid.get("auction")
        if auction is not None:
            yield auction, bid.get("bidder"), bid.get("price"), time_text(at_ms), str(auction % 10_000)


def time_of_day(hour):
    """What the hours from 0 to 23 are called."""
    if 8 <= hour <= 18:
        return "dayTime"
    return "otherTime" if hour in (7, 19) else "nightTime"


def q14(events, late):
    """Bids between one and fifty million euros, with the time of day and how many letters c are in `extra`."""
    for auction, bidder, price, time, extra in q1(events, late):
        if price is not None and 1_000_000 < price < 50_000_000:
            letters = None if extra is None else sum(letter == "c" for letter in extra)
            yield auction, bidder, price, time_of_day(int(time[11:13])), time, extra, letters


def channel_id(bid):
    """The number of a channel with a name, in letters of either case, or else what the URL says; none if neither does."""
    channel, url = bid.get("channel"), bid.get("url")
    if channel is not None and channel.lower() in NAMED_CHANNELS:
        return NAMED_CHANNELS[channel.lower()]
    key = "channel_id="
    # The URL is no form's data: its first parameter stands behind a `?`, and is none here.
    found = [part for part in (url or "").split("&") if part.startswith(key)]
    return found[0][len(key) :] if found else None


def q21(events, late):
    """Bids with the id of their channel; those without one are left out."""
    for bid, _ in bids(events):
        of_channel = channel_id(bid)
        if of_channel is not None:
            yield bid.get("auction"), bid.get("bidder"), bid.get("price"), bid.get("channel"), of_channel


def q22(events, late):
    """Bids with the first three directories of their URL; NULL for those that it has not."""
    for bid, _ in bids(events):
        parts = (bid.get("url") or "").split("/")
        directories = (parts + [None] * 6)[3:6]
        yield bid.get("auction"), bid.get("bidder"), bid.get("price"), bid.get("channel"), *directories
