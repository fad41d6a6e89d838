#!/usr/bin/env python3
"""Expected results of Nexmark queries, worked out a row at a time by the plainest means.

This is the independent reference for q0 to q23 and qt (bids per auction in tumbling windows of 10 s): it shares nothing
with the engine but the description of the queries, and needs Python 3.11 and its standard library only. What it is held
against is Flink itself (scripts/flink-golden). It reads a file of events as `millstream gen nexmark` writes them, nested or
flat, in order or not, and writes the expected rows as Flink writes JSON: columns in the declared order, NULLs written, times
without trailing zeros, decimals with all the digits of their scale.
With --check it compares the rows of a file with the expected ones instead, as multisets.

    nexmark.py qt events.ndjson > expected.ndjson
    nexmark.py qt events.ndjson --check out/qt.ndjson
    nexmark.py qt events.ndjson --late --check out/late.ndjson
    nexmark.py q10 events.ndjson --check out/q10

Rows that come too late for their window are dropped, and counted on stderr; --late takes them for the rows of the query.
The rule: the watermark at a row is the highest event time of all events before it in the file, of whatever kind, less
4 s; a row is late if the last millisecond of the last window that it counts in is not above the watermark.

The queries that keep nothing are in stateless.py, those with windows in windowed.py, those that join in joined.py, all
others in running.py. The rows of q12 hold times of the clock: its reference has but the bids per bidder, and a check adds
up the rows of each. Those of q10 lie in a folder of files: here the folder that each belongs into is its last column, and
a check takes all files below one as well as one file of such rows.

Exit codes: 0 done, or no difference; 1 a difference; 2 usage, or a file that cannot be read.
"""

import argparse
import itertools
import json
import sys
from collections import defaultdict
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import joined
import running
import stateless
import windowed
from events import Events, row_of, time_ms

BID = stateless.BID
WHOLE_BID = running.BID
CHANNEL = WHOLE_BID[:4]
WINDOW = ("auction", "num", "starttime", "endtime")
RANKS = ("total", "rank1", "rank2", "rank3")
STATISTICS = tuple(f"{rank}_{of}" for of in ("bids", "bidders", "auctions") for rank in RANKS)
PRICES = ("min_price", "max_price", "avg_price", "sum_price")
QUERIES = {
    "q0": (stateless.q0, BID),
    "q1": (stateless.q1, BID),
    "q2": (stateless.q2, ("auction", "price")),
    "q5": (windowed.q5, ("auction", "num")),
    "q5_counts": (windowed.q5_counts, WINDOW),
    "q7": (windowed.q7, BID),
    "q10": (stateless.q10, (*BID, "folder")),
    "q11": (windowed.q11, windowed.SESSION),
    "q12": (windowed.q12, ("bidder", "bid_count")),
    "q13": (stateless.q13, ("auction", "bidder", "price", "dateTime", "value")),
    "q14": (stateless.q14, (*BID[:3], "bidTimeType", *BID[3:], "c_counts")),
    "q15": (running.q15, ("day", *STATISTICS)),
    "q16": (running.q16, ("channel", "day", "minute", *STATISTICS)),
    "q17": (running.q17, ("auction", "day", *STATISTICS[:4], *PRICES)),
    "q18": (running.q18, WHOLE_BID),
    "q19": (running.q19, (*WHOLE_BID, "rank_number")),
    "q21": (stateless.q21, (*CHANNEL, "channel_id")),
    "q22": (stateless.q22, (*CHANNEL, "dir1", "dir2", "dir3")),
    "qt": (windowed.qt, WINDOW),
    **joined.QUERIES,
}
# The columns of late rows: a step's input. q7 has chosen its columns before, the others have whole events.
LATE = {"q5": WHOLE_BID, "q5_counts": WHOLE_BID, "q7": BID, "q11": WHOLE_BID, "qt": WHOLE_BID}
# Those of which late rows are counted: q8 drops persons and auctions, of which it has two steps.
WINDOWED = (*LATE, "q8")


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
        number = stateless.EXACT.normalize(Decimal(value))
        return format(number, "f") if number else "0"
    return ("text", value)


def digest(row):
    """Sixteen bytes that stand for a row: five million rows fit in memory, their texts do not."""
    return blake2b(repr(tuple(map(plain, row))).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class BadRow(tuple):
    """A line of the output that has not the form of a row; equal to no expected row."""


def refuse_constant(name):
    raise ValueError(name)


def bid_of(record):
    """The bid of an event, which is what a late row is where the step has whole events as its input."""
    if isinstance(record, dict) and tuple(record) == ("event_type", "person", "auction", "bid"):
        if record["event_type"] == 2 and record["person"] is None and record["auction"] is None:
            return record["bid"]
    return record


def output_rows(columns, path, unwrap=lambda record: record):
    """The rows of a file; a line that is no JSON object with exactly these columns in this order is a BadRow."""
    with open(path, "rb") as lines:
        for line in lines:
            try:
                record = json.loads(line, parse_float=Decimal, parse_constant=refuse_constant)
            except ValueError:
                record = None
            record = unwrap(record)
            if isinstance(record, dict) and tuple(record) == columns:
                yield tuple(record.values())
            else:
                yield BadRow(["no row of these columns", line.decode("utf-8", "replace").rstrip("\n")])


def rows_in_folders(columns, path):
    """The rows of all files below a folder, each with the folder that it was found in; a file under a hidden name is one
    that was not taken back."""
    root = Path(path)
    for file in sorted(file for file in root.rglob("*") if not file.is_dir()):
        if file.name.startswith("."):
            yield BadRow(["an unfinished file", str(file)])
            continue
        folder = file.parent.relative_to(root).as_posix()
        for row in output_rows(columns, file):
            yield row if isinstance(row, BadRow) else (*row, folder)


def found_rows(query, path):
    """The rows that a query has put out."""
    if query == "q12":
        return bids_per_bidder(path)
    if query == "q10" and Path(path).is_dir():
        return rows_in_folders(BID, path)
    return output_rows(QUERIES[query][1], path)


def bids_per_bidder(path):
    """The rows of q12 added up. Each has to be of one window of 10 s, and the only one of its bidder in it."""
    totals, seen = defaultdict(int), set()
    for row in output_rows(windowed.SESSION, path):
        if isinstance(row, BadRow):
            yield row
            continue
        bidder, count, start, end = row
        try:
            start_ms, end_ms = time_ms(start), time_ms(end)
            right = type(count) is int and count > 0 and start_ms % windowed.WINDOW_MS == 0
            right = right and end_ms == start_ms + windowed.WINDOW_MS and (bidder, start) not in seen
        except (TypeError, ValueError, IndexError):
            right = False
        if right:
            seen.add((bidder, start))
            totals[bidder] += count
        else:
            yield BadRow(["no window's count of bids", row_text(windowed.SESSION, row)])
    yield from totals.items()


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


def check(columns, expected, found, differences, out):
    """Compares the rows of an output, `found()`, with the expected ones, `expected()`, and prints the first that differ.
    Whether they are equal."""
    balance, counts = balance_of(expected(), found())
    out.write(f"expected {counts[0]} rows, found {counts[1]}\n")
    if not balance:
        return True
    missing = sum(weight for weight in balance.values() if weight > 0)
    surplus = sum(-weight for weight in balance.values() if weight < 0)
    out.write(f"{missing} rows are missing, {surplus} are too many\n")
    for sign, rows in (("-", expected()), ("+", found())):
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
    parser.add_argument("--late", action="store_true", help="the late rows instead of the query's")
    parser.add_argument("--check", metavar="OUTPUT", help="compare these rows with the expected ones")
    parser.add_argument("--differences", type=int, default=10, help="how many of each kind to print (%(default)s)")
    return parser.parse_args()


def main():
    options = arguments("Expected results of Nexmark queries.")
    query, columns = QUERIES[options.query]
    events, late = Events(options.input), []
    if options.late and options.query not in LATE:
        print(f"{options.query} has no late rows", file=sys.stderr)
        return 2
    if options.late:
        columns = LATE[options.query]

    def expected():
        late.clear()
        if not options.late:
            yield from query(events, late)
            return
        for _ in query(events, late):
            pass
        yield from (row_of(bid, at_ms, columns) for bid, at_ms in late)

    def found():
        if options.late:
            return output_rows(columns, options.check, bid_of)
        return found_rows(options.query, options.check)

    if options.check:
        same = check(columns, expected, found, options.differences, sys.stderr)
    else:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        write_rows(columns, expected(), sys.stdout)
        same = True
    if options.query in WINDOWED:
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
