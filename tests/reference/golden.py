#!/usr/bin/env python3
"""Small inputs of Nexmark and the rows that Flink yields for them: makes them afresh, and says what has changed.

    golden.py PROGRAM                          remake tests/reference/golden
    golden.py PROGRAM --compare 500000         Flink and the reference on as many events, nothing is written

PROGRAM is a built millstream, which generates the events. Beside each set's JSON, which holds the number of rows and the
XXH3-128 of their sorted lines, stand the rows themselves where they are few. late_<query> are the bids that were late.
Started by scripts/flink-golden, which installs Flink.

Exit codes: 0 all as it was, and Flink and the reference agree; 1 not; 2 usage, or a file that cannot be read.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import flink
import nexmark
from events import Events, bids, row_of, time_text

GOLDEN = Path(__file__).parent / "golden"
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
}
# What a set is about, where it says nothing new of the other queries.
ONLY = {"texts": ("q10", "q14", "q21", "q22")}
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


MADE = {"ties": ties, "texts": texts}


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


def expected(query, path, late):
    """What the reference says of a query, as sorted lines; its late rows with all columns of a bid."""
    function, columns = nexmark.QUERIES[query]
    late_bids = []
    rows = [nexmark.row_text(columns, row) for row in function(Events(path), late_bids)]
    if late:
        rows = [late_text(query, bid, at_ms) for bid, at_ms in late_bids]
    return sorted_lines(rows)


def late_text(query, bid, at_ms):
    columns = nexmark.LATE[query]
    return nexmark.row_text(columns, row_of(bid, at_ms, columns))


def late_in_flink(query, path, kept):
    """The late bids of a query: those that Flink did not keep."""
    extras = {extra for line in kept.decode("utf-8").splitlines() for extra in json.loads(line)["extra"].split(",")}
    found = list(bids(Events(path)))
    if len({bid["extra"] for bid, _ in found}) != len(found):
        raise ValueError(f"{path}: bids share an `extra`")
    return sorted_lines(late_text(query, bid, at_ms) for bid, at_ms in found if bid["extra"] not in extras)


class Comparison:
    """How Flink's rows and the reference's compare, a line each."""

    def __init__(self):
        self.differs = []

    def of(self, name, output, ours, theirs, more_in=None, reason=None):
        ours, theirs = ours.splitlines(), theirs.splitlines()
        rows = {"the reference": only(ours, theirs), "Flink": only(theirs, ours)}
        counts = {side: len(lines) for side, lines in rows.items() if lines}
        if not counts:
            verdict = "equal"
        elif list(counts) == [more_in]:
            verdict = f"differs, as it may: {reason}"
        else:
            verdict = "DIFFERS"
            self.differs.append(f"{name} {output}")
        only_in = "".join(f", {count} in {side} only" for side, count in counts.items())
        print(f"{name} {output}: {verdict}; {len(theirs)} rows{only_in}", flush=True)


def only(some, others):
    """What is in the one and not in the other, as multisets."""
    left = Counter(some)
    left.subtract(Counter(others))
    return list((+left).elements())


def compare(name, path, outputs, comparison):
    """Compares all that Flink has put out with the reference; yields our outputs and Flink's rows of each."""
    for query, theirs in outputs.items():
        ours, *may_differ = OTHER_FORMS.get(query, (query,))
        if ours in nexmark.QUERIES:
            comparison.of(name, query, expected(ours, path, late=False), theirs, *may_differ)
        if query in nexmark.QUERIES:
            yield query, theirs
    for query, kept in KEPT.items():
        if kept in outputs:
            theirs = late_in_flink(query, path, outputs[kept])
            comparison.of(name, f"late_{query}", expected(query, path, late=True), theirs)
            yield f"late_{query}", theirs


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


def large(program, folder, events):
    """In order, shuffled by 4 s, by 12 s and by 20 s, in which there are late rows of all windows."""
    for name, shuffle in (("in-order", 0), ("within-watermark", 4000), ("late", 12_000), ("very-late", 20_000)):
        path = folder / f"{name}.input.ndjson"
        generate(program, ["--events", str(events), "--tps", "1000", "--shuffle", str(shuffle)], path)
        yield name, path


def arguments():
    parser = argparse.ArgumentParser(description="Golden rows of Nexmark, made by Flink.")
    parser.add_argument("program", type=Path, help="a built millstream")
    parser.add_argument("--compare", type=int, metavar="EVENTS", help="compare on so many events, and write nothing")
    return parser.parse_args()


def main():
    options = arguments()
    comparison, changed = Comparison(), []
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        sets = large(options.program, scratch, options.compare) if options.compare else inputs(options.program, scratch)
        engine = flink.Flink()
        for name, path in sets:
            only = None if options.compare else ONLY.get(name)
            outputs = {query: sorted_lines(rows) for query, rows in engine.run(path, scratch / name, only)}
            ours = dict(compare(name, path, outputs, comparison))
            if not options.compare:
                changed += write(name, path, ours)
    for file in changed:
        print(f"changed: golden/{file}")
    for what in comparison.differs:
        print(f"error: Flink and the reference differ: {what}")
    if not changed and not options.compare:
        print("The golden rows are as they were.")
    return 1 if changed or comparison.differs else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
