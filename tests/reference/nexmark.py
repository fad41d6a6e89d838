#!/usr/bin/env python3
"""Expected results of Nexmark queries, worked out a row at a time by the plainest means.

This is the independent reference for q0, q1, q2 and qt (bids per auction in tumbling windows of 10 s): it shares nothing
with the engine but the description of the queries, and needs Python 3.11 and its standard library only. It reads a file
of events as `millstream gen nexmark` writes them, nested or flat, in order or not, and writes the expected rows as
Flink writes JSON: columns in the declared order, NULLs written, times without trailing zeros, decimals with all the
digits of their scale. With --check it compares the rows of a file with the expected ones instead, as multisets.

    nexmark.py qt events.ndjson > expected.ndjson
    nexmark.py qt events.ndjson --check out/qt.ndjson

Rows that come too late for their window are dropped, and counted on stderr. The rule: the watermark at a row is the
highest event time of all events before it in the file, of whatever kind, less 4 s; a row is late if the last
millisecond of its window is not above the watermark.

Exit codes: 0 done, or no difference; 1 a difference; 2 usage, or a file that cannot be read.
"""

import argparse
import itertools
import json
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Context, Decimal
from hashlib import blake2b

OUT_OF_ORDER_MS = 4_000
WINDOW_MS = 10_000
EPOCH = datetime(1970, 1, 1)
EURO = Decimal("0.908")
KINDS = ("person", "auction", "bid")

# No result is rounded: a DECIMAL has at most 38 digits.
EXACT = Context(prec=80)


class BadRecord(Exception):
    """A line that is no event."""


def time_ms(text, minutes={}):
    """Milliseconds since 1970 of a TIMESTAMP(3). The minutes met so far are remembered: a stream has few."""
    minute, second, fraction = text[:16], text[16:19], text[19:]
    if minute not in minutes:
        minutes[minute] = (datetime.fromisoformat(minute) - EPOCH) // timedelta(milliseconds=1)
    if second[0] != ":" or (fraction and (fraction[0] != "." or not fraction[1:].isdigit())):
        raise ValueError(text)
    return minutes[minute] + int(second[1:]) * 1000 + int(fraction[1:4].ljust(3, "0"))


def time_text(ms):
    """A TIMESTAMP(3) as Flink writes it: no zone, no trailing zeros in the fraction."""
    seconds, fraction = divmod(ms, 1000)
    text = (EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{fraction:03}".rstrip("0") if fraction else text


class Events:
    """The events of a file in order: the kind, the fields and the event time of each."""

    def __init__(self, path):
        self.path = path
        self.bad = 0

    def __iter__(self):
        self.bad = 0
        with open(self.path, "rb") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield self.event(json.loads(line))
                except (BadRecord, ValueError, TypeError, IndexError, KeyError, AttributeError):
                    self.bad += 1

    @staticmethod
    def event(record):
        kind = KINDS[record["event_type"]]
        fields = record.get(kind)
        if not isinstance(fields, dict):
            if any(isinstance(record.get(name), dict) for name in KINDS):
                raise BadRecord
            fields = record
        return kind, fields, time_ms(fields["dateTime"])


def bids(events):
    for kind, fields, at_ms in events:
        if kind == "bid":
            yield fields, at_ms


def q0(events, late):
    """Bids, passed through."""
    for bid, at_ms in bids(events):
        yield bid.get("auction"), bid.get("bidder"), bid.get("price"), time_text(at_ms), bid.get("extra")


def q1(events, late):
    """Bids, their price in euro, exactly: DECIMAL(23, 3)."""
    for bid, at_ms in bids(events):
        price = bid.get("price")
        euro = None if price is None else EXACT.multiply(EURO, price)
        yield bid.get("auction"), bid.get("bidder"), euro, time_text(at_ms), bid.get("extra")


def q2(events, late):
    """Auction and price of bids on every 123rd auction."""
    for bid, _ in bids(events):
        auction = bid.get("auction")
        if auction is not None and auction % 123 == 0:
            yield auction, bid.get("price")


def qt(events, late):
    """Bids per auction in tumbling windows of 10 s; late ones are dropped."""
    windows = defaultdict(lambda: defaultdict(int))
    watermark_ms = None
    for kind, fields, at_ms in events:
        if kind == "bid":
            end_ms = at_ms - at_ms % WINDOW_MS + WINDOW_MS
            if watermark_ms is not None and end_ms - 1 <= watermark_ms:
                late.append(end_ms)
            else:
                windows[end_ms][fields.get("auction")] += 1
        # After the row: none makes itself late.
        if watermark_ms is None or at_ms - OUT_OF_ORDER_MS > watermark_ms:
            watermark_ms = at_ms - OUT_OF_ORDER_MS
            for end_ms in sorted(end for end in windows if end - 1 <= watermark_ms):
                yield from counted(end_ms, windows.pop(end_ms))
    for end_ms in sorted(windows):
        yield from counted(end_ms, windows[end_ms])


def counted(end_ms, counts):
    start, end = time_text(end_ms - WINDOW_MS), time_text(end_ms)
    for auction, count in counts.items():
        yield auction, count, start, end


BID = ("auction", "bidder", "price", "dateTime", "extra")
QUERIES = {
    "q0": (q0, BID),
    "q1": (q1, BID),
    "q2": (q2, ("auction", "price")),
    "qt": (qt, ("auction", "num", "starttime", "endtime")),
}


def json_text(value):
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


def row_text(columns, row):
    return "{" + ",".join(f'"{name}":{json_text(value)}' for name, value in zip(columns, row)) + "}"


def write_rows(columns, rows, out):
    """Writes rows as NDJSON."""
    for row in rows:
        out.write(row_text(columns, row) + "\n")


def plain(value):
    """A value in the one form that equal values have: 454, 454.0 and 4.54e2 are one number, and not the text "454"."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, Decimal)):
        number = EXACT.normalize(Decimal(value))
        return format(number, "f") if number else "0"
    return ("text", value)


def digest(row):
    """Sixteen bytes that stand for a row: five million rows fit in memory, their texts do not."""
    return blake2b(repr(tuple(map(plain, row))).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class BadRow(tuple):
    """A line of the output that has not the form of a row; equal to no expected row."""


def refuse_constant(name):
    raise ValueError(name)


def output_rows(columns, path):
    """The rows of a file; a line that is no JSON object with exactly these columns in this order is a BadRow."""
    with open(path, "rb") as lines:
        for line in lines:
            try:
                record = json.loads(line, parse_float=Decimal, parse_constant=refuse_constant)
            except ValueError:
                record = None
            if isinstance(record, dict) and tuple(record) == columns:
                yield tuple(record.values())
            else:
                yield BadRow(["no row of these columns", line.decode("utf-8", "replace").rstrip("\n")])


def balance_of(expected, found):
    """How many more times each row was expected than found, both walked in step: what is in much the same order needs
    little memory."""
    balance = {}
    counts = [0, 0]
    for pair in itertools.zip_longest(expected, found):
        for side, row in enumerate(pair):
            if row is None:
                continue
            counts[side] += 1
            key = digest(row)
            weight = balance.get(key, 0) + (1 if side == 0 else -1)
            if weight:
                balance[key] = weight
            else:
                del balance[key]
    return balance, counts


def check(columns, expected, path, differences, out):
    """Compares the rows of a file with the expected ones, `expected()`, and prints the first that differ. Whether they
    are equal."""
    balance, counts = balance_of(expected(), output_rows(columns, path))
    out.write(f"expected {counts[0]} rows, found {counts[1]}\n")
    if not balance:
        return True
    missing = sum(weight for weight in balance.values() if weight > 0)
    surplus = sum(-weight for weight in balance.values() if weight < 0)
    out.write(f"{missing} rows are missing, {surplus} are too many\n")
    for sign, rows in (("-", expected()), ("+", output_rows(columns, path))):
        wanted = {key: abs(weight) for key, weight in balance.items() if (weight > 0) == (sign == "-")}
        print_rows(columns, rows, wanted, sign, differences, out)
    return False


def print_rows(columns, rows, wanted, sign, most, out):
    printed = 0
    for row in rows:
        if not wanted or printed == most:
            return
        key = digest(row)
        if key not in wanted:
            continue
        wanted[key] -= 1
        if not wanted[key]:
            del wanted[key]
        out.write(f"{sign} {': '.join(row) if isinstance(row, BadRow) else row_text(columns, row)}\n")
        printed += 1


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("query", choices=sorted(QUERIES))
    parser.add_argument("input", help="events, one JSON object a line")
    parser.add_argument("--check", metavar="OUTPUT", help="compare these rows with the expected ones")
    parser.add_argument("--differences", type=int, default=10, help="how many of each kind to print (%(default)s)")
    return parser.parse_args()


def main():
    options = arguments("Expected results of Nexmark queries.")
    query, columns = QUERIES[options.query]
    events, late = Events(options.input), []

    def expected():
        late.clear()
        return query(events, late)

    if options.check:
        same = check(columns, expected, options.check, options.differences, sys.stderr)
    else:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        write_rows(columns, expected(), sys.stdout)
        same = True
    if options.query == "qt":
        print(f"{len(late)} rows were late", file=sys.stderr)
    if events.bad:
        print(f"{events.bad} lines are no events", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
