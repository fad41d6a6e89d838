#!/usr/bin/env python3
"""Small inputs of Nexmark and the rows that Flink yields for them: makes them afresh, and says what has changed.

    golden.py PROGRAM                                  remake tests/reference/golden
    golden.py PROGRAM --compare 500000 [--orders in-order,late] [--queries q4,q9]
                                                       Flink, the reference and PROGRAM on as many events; writes nothing

PROGRAM is a built millstream, which generates the events. Beside each set's JSON, which holds the number of rows and the
XXH3-128 of their sorted lines, stand the rows themselves where they are few. late_<query> are the bids that were late.
A comparison runs our pipelines on 1, 2, 3 and 8 shards; of q6, which Flink cannot run, and q12, whose windows are the
clock's, it is one of ours with the reference. Started by scripts/flink-golden, which installs Flink.

Exit codes: 0 all as it was, and all agree; 1 not; 2 usage, or a file that cannot be read.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path

import flink
import nexmark
from events import Events, bids, row_of, time_text

GOLDEN = Path(__file__).parent / "golden"
PIPELINES = Path(__file__).parent.parent.parent / "pipelines/nexmark"
# Rows in a file of their own take at most so much, all others are known by their digest.
FILE_BYTES_MAX = 6_000
# 60 s of events: six tumbling windows. A block of 4 s keeps within the watermark, one of 15 s does not.
IN_ORDER = ["--events", "6000", "--tps", "100", "--seed", "11"]
SETS = {
    "in-order": IN_ORDER,
    "within-watermark": [*IN_ORDER, "--shuffle", "400"],
    "late": [*IN_ORDER, "--shuffle", "1500"],
    "ties": None,
    "texts": None,
    "joins": None,
}
TEXTS = {"q10", "q14", "q21", "q22"}
# The queries that need persons and auctions. q13 does not.
JOINS = {"q3", "q4", "q8", "q9", "q20", "q23"}
# How many events are shuffled by: not at all, by 4 s, by 12 s and by 20 s, in which there are late rows of all windows.
ORDERS = {"in-order": 0, "within-watermark": 4000, "late": 12_000, "very-late": 20_000}
SHARDS = (1, 2, 3, 8)
# Which query of flink.sql tells what was late in which of ours.
KEPT = {"qt": "qt_kept", "q5": "q5_kept", "q7": "qt_kept", "q11": "q11_kept"}
# Queries of flink.sql that are ours in another form: which of the two may have rows that the other has not, and why.
OTHER_FORMS = {
    "q5_top": ("q5", "the reference", "Flink keeps one row a window where several have as many bids"),
    "q7_top": ("q7", "the reference", "Flink keeps one row a window where several have the highest price"),
    "q7_join": ("q7", "Flink", "a late bid matches until the watermark has come on both sides of the join"),
    "q7_upstream": ("q7", "Flink", "a late bid matches too, and one at the very end of a window"),
    "q11_table": ("q11", None, None),
}


def ties():
    """Events that meet where it matters: equal prices, equal times, times on and just before the ends of windows, gaps
    of exactly 10 s, midnight, numbers below 0, NULLs, and a good part of them late."""
    draw = random.Random(5)
    midnight_ms = 1_436_918_400_000
    for number in range(360):
        at_ms = midnight_ms - 60_000 + number * 333 // 500 * 500
        at_ms -= draw.choice([0, 0, 0, 0, 500, 1000, 3000, 4000, 6000, 9000, 12_000, 15_000]) + draw.choice([0, 0, 1])
        time = {"dateTime": time_text(at_ms)}
        if draw.random() < 0.1:
            yield {"event_type": 0, "person": {"id": number, **time}}
            continue
        fields = {
            "auction": draw.choice([1, 1, 2, 3, None]),
            "bidder": draw.choice([1, 2, 3, None, *range(10, 40, 3)]),
            "price": draw.choice([-7, -1, 0, 9999, 10_000, 10_001, 999_999, 1_000_000, 1_000_001, None]),
            "channel": draw.choice(["Apple", "é\"", "", None]),
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        yield {"event_type": 2, "bid": {**fields, **time, "extra": f"e{number}"}}


def texts():
    """Bids at all hours, and at their first and last moments; prices on both sides of what is asked for; channels and URLs
    in many forms, few of them well made."""
    urls = [
        "https://www.nexmark.com/a/b/c/item.htm?query=1&channel_id=123",
        "https://www.nexmark.com/a//c/item.htm?query=1",
        "channel_id=1&channel_id=2",
        "https://h/a?channel_id=7",
        "https://h/a/&channel_id=&x",
        "&channel_id=é/ü/x/y/z\n/c&channel_id=3",
        "https://h/&my_channel_id=4",
        "/////",
        "",
        None,
    ]
    channels = ["Apple", "apple", "GOOGLE", "facebooK", "baidu", "channel-1", " apple", "", None]
    extras = ["c", "cCc", "", "acbc\"c\\ć", None]
    prices = [1_101_321, 1_101_322, 55_066_079, 55_066_080, 2_000_000, 0, -2_000_000, 9 * 10**18, None, 3_000_000]
    first_ms = 1_436_918_400_000
    for number in range(72):
        hour, moment = divmod(number, 3)
        at_ms = first_ms + hour * 3_600_000 + (0, 1_800_500, 3_599_999)[moment]
        fields = {
            "auction": 1000 + number,
            "bidder": number % 7,
            "price": prices[number % 10],
            "channel": channels[number % 9],
            "url": urls[number // 3 % 10],
            "extra": extras[number // 10 % 5],
        }
        fields = {name: value for name, value in fields.items() if value is not None}
        yield {"event_type": 2, "bid": {**fields, "dateTime": time_text(at_ms)}}


def joins():
    """Persons, auctions and bids whose ids are few and not always of one row alone, or NULL; bids before their auction, at
    its very start, at its very end and beyond; prices that are equal, below 0 or NULL; and a good part of all late. Bids
    on one auction have no price and time in common, and auctions with one id no time: which of them comes first nobody
    knows."""
    draw = random.Random(9)
    first_ms = 1_436_918_340_000
    bid_before, open_before = set(), []
    moments = [first_ms]
    for number in range(600):
        at_ms = first_ms + number * 120 // 500 * 500
        at_ms -= draw.choice([0, 0, 0, 0, 500, 1000, 3000, 4000, 6000, 9000, 12_000, 15_000]) + draw.choice([0, 0, 1])
        # What happens at one time with something else is what shows which ends are inclusive.
        at_ms = draw.choice([at_ms, at_ms, draw.choice(moments[-40:])])
        kind = draw.choice(["person", "auction", "auction", "bid", "bid", "bid"])
        if kind == "person":
            fields = {
                "id": draw.choice([*range(1, 30), None]),
                "name": draw.choice(["Ann", "Ben é\"", "", None]),
                "city": draw.choice(["Bend", "Boise", None]),
                "state": draw.choice(["OR", "ID", "CA", "WA", "or", None]),
                "emailAddress": f"{number}@example.org",
                "creditCard": draw.choice(["1234", None]),
            }
        elif kind == "auction":
            expires_ms = at_ms + draw.choice([0, 500, 2000, 8000, 8000, 20_000, 20_000, -1000])
            moments.append(expires_ms)
            key = draw.choice([*range(1, 50), None])
            if any(key == other and at_ms <= end and start <= expires_ms for other, start, end in open_before):
                key = 100 + number
            open_before.append((key, at_ms, expires_ms))
            fields = {
                "id": key,
                "itemName": draw.choice(["item", "\t", None]),
                "initialBid": draw.choice([1, -1, None]),
                "reserve": number,
                "expires": draw.choice([time_text(expires_ms)] * 9 + [None]),
                "seller": draw.choice([*range(1, 30), None]),
                "category": draw.choice([10, 10, 11, 12, None]),
            }
        else:
            fields = {
                "auction": draw.choice([*range(1, 50), None]),
                "bidder": draw.choice([*range(1, 30), None]),
                "price": draw.choice([-7, -1, 0, 1, 5, 5, 9000, 9001, 10_000, None]),
                "channel": draw.choice(["Apple", "", None]),
                "url": draw.choice(["https://h/a/b/c", None]),
            }
            if (fields["auction"], fields["price"], at_ms) in bid_before:
                fields["price"] = 100_000 + number
            bid_before.add((fields["auction"], fields["price"], at_ms))
        moments.append(at_ms)
        fields = {name: value for name, value in fields.items() if value is not None}
        branch = {**fields, "dateTime": time_text(at_ms), "extra": f"e{number}"}
        yield {"event_type": ("person", "auction", "bid").index(kind), kind: branch}


MADE = {"ties": ties, "texts": texts, "joins": joins}


def is_of(name, query):
    """Whether a set has to do with a query of flink.sql: it is about some, or it says nothing of them."""
    return {"texts": query in TEXTS, "joins": query in JOINS, "ties": query not in JOINS}.get(name, True)


def generate(program, arguments, path):
    subprocess.run([program, "gen", "nexmark", *arguments, "--out", path], check=True)


def inputs(program, folder):
    """The sets' files of events."""
    for name, arguments in SETS.items():
        path = (folder if arguments else GOLDEN) / f"{name}.input.ndjson"
        if arguments:
            generate(program, arguments, path)
        else:
            lines = (json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in MADE[name]())
            path.write_bytes("".join(lines).encode("utf-8"))
        yield name, path


def sorted_lines(lines):
    return b"".join(sorted(line.encode("utf-8") + b"\n" for line in lines))


def sorted_digests(lines):
    """A digest of each line in place of the line: millions of rows need not fit into memory."""
    digests = (blake2b(line.encode("utf-8"), digest_size=16).hexdigest() for line in lines)
    return b"".join(sorted(digest.encode("ascii") + b"\n" for digest in digests))


def expected(query, events, form, late=False):
    """What the reference says of a query, as sorted lines; its late rows with all columns of a bid."""
    function, columns = nexmark.QUERIES[query]
    late_bids = []
    rows = form(nexmark.row_text(columns, row) for row in function(events, late_bids))
    return form(late_text(query, bid, at_ms) for bid, at_ms in late_bids) if late else rows


def late_text(query, bid, at_ms):
    columns = nexmark.LATE[query]
    return nexmark.row_text(columns, row_of(bid, at_ms, columns))


def late_in_flink(query, events, kept, form):
    """The late bids of a query: those that Flink did not keep."""
    extras = {extra for line in kept.decode("utf-8").splitlines() for extra in json.loads(line)["extra"].split(",")}
    found = list(bids(events))
    if len({bid["extra"] for bid, _ in found}) != len(found):
        raise ValueError("bids share an `extra`")
    return form(late_text(query, bid, at_ms) for bid, at_ms in found if bid["extra"] not in extras)


class Comparison:
    """How the rows of two sides compare, a line each."""

    def __init__(self):
        self.differs = []

    def of(self, name, output, ours, theirs, sides=("the reference", "Flink"), more_in=None, reason=None):
        """Compares what two sides say, as lines; only the side `more_in`, if any, may have rows of its own."""
        counts = {}
        if ours != theirs:
            ours, theirs = ours.splitlines(), theirs.splitlines()
            both = {sides[0]: only(ours, theirs), sides[1]: only(theirs, ours)}
            counts = {side: len(lines) for side, lines in both.items() if lines}
            rows = len(theirs)
        else:
            rows = theirs.count(b"\n")
        if not counts:
            verdict = "equal"
        elif list(counts) == [more_in]:
            verdict = f"differs, as it may: {reason}"
        else:
            verdict = "DIFFERS"
            self.differs.append(f"{name} {output}: {sides[0]} and {sides[1]}")
        only_in = "".join(f", {count} in {side} only" for side, count in counts.items())
        print(f"{name} {output}, {sides[0]} and {sides[1]}: {verdict}; {rows} rows{only_in}", flush=True)


def only(some, others):
    """What is in the one and not in the other, as multisets."""
    left = Counter(some)
    left.subtract(Counter(others))
    return list((+left).elements())


def compare(name, query, theirs, events, form, comparison):
    """Compares what Flink has put out for a query with the reference; yields our outputs and Flink's rows of each."""
    ours, *may_differ = OTHER_FORMS.get(query, (query, None, None))
    if ours in nexmark.QUERIES:
        comparison.of(name, query, expected(ours, events, form), theirs, ("the reference", "Flink"), *may_differ)
    if query in nexmark.QUERIES:
        yield query, theirs
    for of in (of for of, kept in KEPT.items() if kept == query):
        late = late_in_flink(of, events, theirs, form)
        comparison.of(name, f"late_{of}", expected(of, events, form, late=True), late)
        yield f"late_{of}", late


class Ours:
    """Our pipelines on a file of events."""

    def __init__(self, program, path, table, scratch):
        self.program, self.path, self.scratch = program, path, scratch
        self.environment = {**os.environ, "NEXMARK_INPUT": str(path), "NEXMARK_TABLE": str(table)}

    def rows(self, query, shards):
        """Digests of the rows of a query on so many shards, in the form of the reference."""
        output, state = self.scratch / "ours", self.scratch / "state"
        command = [self.program, "run", PIPELINES / f"{query}.yaml", "--cores", str(shards), "--state-dir", state]
        environment = {**self.environment, "NEXMARK_OUTPUT": str(output)}
        subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
        digests = sorted_digests(self.lines(query, output))
        shutil.rmtree(output) if output.is_dir() else output.unlink()
        return digests

    @staticmethod
    def lines(query, output):
        if query in ("q10", "q12"):
            columns = nexmark.QUERIES[query][1]
            yield from (nexmark.row_text(columns, row) for row in nexmark.found_rows(query, output))
            return
        with open(output, encoding="utf-8", newline="\n") as lines:
            yield from (line.removesuffix("\n") for line in lines)


    def compare(self, name, query, side, theirs, comparison):
        """Compares the rows of a query on all numbers of shards with those of another side."""
        for shards in SHARDS:
            comparison.of(name, query, self.rows(query, shards), theirs, (f"ours on {shards} shards", side))


def digest(lines):
    import xxhash

    return {"rows": lines.count(b"\n"), "xxh3_128": xxhash.xxh3_128_hexdigest(lines)}


def write(name, path, outputs):
    """Writes a set; yields the names of the files that are not as they were."""
    known = {
        "flink": version("apache-flink"),
        "generate": SETS[name],
        "input": digest(path.read_bytes()),
        "outputs": {output: digest(lines) for output, lines in sorted(outputs.items())},
    }
    files = {f"{name}.json": (json.dumps(known, indent=2) + "\n").encode()}
    for output, lines in outputs.items():
        if 0 < len(lines) <= FILE_BYTES_MAX:
            files[f"{name}/{output}.ndjson"] = lines
    for old in (GOLDEN / name).glob("*.ndjson"):
        if f"{name}/{old.name}" not in files:
            old.unlink()
            yield f"{name}/{old.name} (gone)"
    for file, content in files.items():
        place = GOLDEN / file
        if not place.exists() or place.read_bytes() != content:
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(content)
            yield file


def large(program, folder, events, orders):
    """So many events, each time in another order."""
    for name in orders:
        path = folder / f"{name}.input.ndjson"
        generate(program, ["--events", str(events), "--tps", "1000", "--shuffle", str(ORDERS[name])], path)
        yield name, path


def arguments():
    parser = argparse.ArgumentParser(description="Golden rows of Nexmark, made by Flink.")
    names = lambda text: text.split(",")
    parser.add_argument("program", type=Path, help="a built millstream")
    parser.add_argument("--compare", type=int, metavar="EVENTS", help="compare on so many events, and write nothing")
    parser.add_argument("--orders", type=names, help=f"of {','.join(ORDERS)}: all")
    parser.add_argument("--queries", type=names, help="compare only these")
    options = parser.parse_args()
    if not options.compare and (options.orders or options.queries):
        parser.error("--orders and --queries go with --compare")
    options.orders = options.orders or list(ORDERS)
    if not set(options.orders) <= set(ORDERS):
        parser.error(f"the orders are {', '.join(ORDERS)}")
    if not set(options.queries or ()) <= {path.stem for path in PIPELINES.glob("q*.yaml")}:
        parser.error(f"the queries are those of {PIPELINES}")
    return options


def is_asked_for(query, asked):
    """Whether a query of flink.sql is one of those asked for, another form of one, or about its late rows."""
    of = [OTHER_FORMS.get(query, (query,))[0], *(ours for ours, kept in KEPT.items() if kept == query)]
    return not asked or bool(set(of) & set(asked))


def remade(engine, name, path, scratch, comparison):
    """Compares Flink with the reference on a small set and writes what Flink says; the names of the files that change."""
    asked = [query.name for query in engine.queries if is_of(name, query.name)]
    events, outputs = list(Events(path)), {}
    for query, rows in engine.run(path, scratch, asked):
        outputs.update(compare(name, query, sorted_lines(rows), events, sorted_lines, comparison))
    return list(write(name, path, outputs))


def compare_all(engine, name, path, ours, queries, comparison):
    """Compares Flink, the reference and our pipelines on a file of events, each query as Flink has run it."""
    asked = [query.name for query in engine.queries if is_asked_for(query.name, queries)]
    events = list(Events(path))
    pipelines = {path.stem for path in PIPELINES.glob("q*.yaml")}
    for query, rows in engine.run(path, ours.scratch, asked):
        # Of bids that were not late more is looked at than whether they are the same.
        theirs = (sorted_lines if query in KEPT.values() else sorted_digests)(rows)
        for _ in compare(name, query, theirs, events, sorted_digests, comparison):
            pass
        if query in pipelines:
            ours.compare(name, query, "Flink", theirs, comparison)
    for query in sorted(pipelines - {query.name for query in engine.queries}):
        if not queries or query in queries:
            ours.compare(name, query, "the reference", expected(query, events, sorted_digests), comparison)


def main():
    options = arguments()
    comparison, changed = Comparison(), []
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        table = scratch / "side.csv"
        generate(options.program, ["--events", "0", "--side", table], scratch / "nothing")
        engine = flink.Flink(table)
        if options.compare:
            for name, path in large(options.program, scratch, options.compare, options.orders):
                ours = Ours(options.program, path, table, scratch)
                compare_all(engine, name, path, ours, options.queries, comparison)
                path.unlink()
        else:
            for name, path in inputs(options.program, scratch):
                changed += remade(engine, name, path, scratch / name, comparison)
    for file in changed:
        print(f"changed: golden/{file}")
    for what in comparison.differs:
        print(f"error: they differ: {what}")
    if not changed and not options.compare:
        print("The golden rows are as they were.")
    return 1 if changed or comparison.differs else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
