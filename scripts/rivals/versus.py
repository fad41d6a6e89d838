"""Millstream against its rivals on one file of events: `scripts/bench --vs`.

Two comparisons, in each of which all do the same work. `file`: from the file to rows in /dev/null, whole processes; the
rivals are the programs of benches/cost and, as floors, a bare parse and a newline count. `dropped`: all columns computed
and dropped; the rivals are engines, of which only the query is timed, not their start. Runs are interleaved, A B A B …,
after one of each that does not count; medians are taken. An engine starts afresh for each query, so that its peak of memory
is that of this query.

All rivals have the queries of CORE; all others are compared with Flink alone. Rows of those in CORE are compared on the file
that is timed, of the others on the first EVENTS_CHECKED events.
"""

import hashlib
import os
import shutil
import statistics
import sys
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import engines
from measure import PROJECT, Cost, Failed, Figures, Millstream, cost_program, note

sys.path.insert(0, str(PROJECT / "tests/reference"))

import nexmark

# What all rivals have.
CORE = ["q0", "q1", "q2", "qt", "q5", "q7", "q11"]
OTHERS = [name for name in (f"q{number}" for number in range(24)) if name not in CORE]
QUERIES = CORE + OTHERS
RIVALS = ["cost", "tape", "duckdb", "flink"]
EVENTS_CHECKED = 500_000
# Where there is nothing to compare, and why.
NOT_IN_FLINK = {"q6": "ranks of rows that are taken back, in an OVER window, are what it refuses"}
NO_ROWS = {"q12": "its windows are the clock's, and those that are open at the end of the input are left away"}
# Timed once for all queries.
FLOORS = ("tape", "newlines")


class Result(NamedTuple):
    """Who did what on how many cores, and the median figures; for the floors the query is None."""

    comparison: str
    query: str | None
    name: str
    cores: int
    figures: Figures
    runs: list


class Versus:
    """The rivals that there are, and what they came to."""

    def __init__(self, program, events_path, checked_path, scratch, runs, rivals):
        self.events_path, self.checked_path, self.scratch, self.runs = events_path, checked_path, scratch, runs
        self.millstream = Millstream(program, events_path, scratch)
        self.on_checked = Millstream(program, checked_path, scratch)
        self.cores = [count for count in (1, 2) if count <= len(os.sched_getaffinity(0))]
        self.skipped, self.wrong, self.notes, self.results = [], [], [], []
        self.stack = ExitStack()
        self.cost = Cost(cost_program(), events_path, scratch) if {"cost", "tape"} & set(rivals) else None
        self.rivals, self.engines = rivals, {}
        for name, start, counts in (("duckdb", engines.duckdb, self.cores), ("flink", engines.flink, [2])):
            for count in counts if name in rivals else []:
                self.start(name, start, count)

    def start(self, name, start, cores):
        try:
            engine = start(self.events_path, cores, self.millstream.table(), self.scratch)
        except engines.Missing as error:
            self.skip(f"{name}: {error}")
            return
        self.stack.callback(engine.stop)
        self.engines[name, cores] = engine

    def skip(self, what):
        if what not in self.skipped:
            self.skipped.append(what)
            note(f"SKIPPED: {what}")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stack.close()

    def run(self, queries):
        """Checks and times the queries; the floors come first."""
        if "tape" in self.rivals:
            floors = {("file", None, name, 1): lambda name=name: self.cost.run(name) for name in FLOORS}
            self.time(floors)
        for query in queries:
            note(f"{query}: checking")
            right = self.rivals_that_agree(query)
            if right is not None:
                note(f"{query}: timing")
                self.time(self.contenders(query, right))
            for engine in self.engines.values():
                engine.stop()

    def engines_for(self, query):
        """Those that have a query."""
        for (name, cores), engine in self.engines.items():
            if query in CORE or name == "flink" and query not in NOT_IN_FLINK:
                yield (name, cores), engine

    def rivals_that_agree(self, query):
        """Checks our rows against the reference and the rivals' against ours: who agrees, or None if we do not."""
        is_core = query in CORE
        is_right, rows = (self.millstream if is_core else self.on_checked).is_right(query)
        if not is_right:
            self.wrong.append(f"{query}: ours differs from the reference")
            return None
        ours, path = digest(rows_of(query, rows)), self.scratch / "rival.ndjson"
        shutil.rmtree(rows) if rows.is_dir() else rows.unlink()
        found = dict(self.engines_for(query))
        if ("flink", 2) in self.engines and query in NOT_IN_FLINK:
            self.notes.append(f"{query}: Flink has no figure: {NOT_IN_FLINK[query]}.")
        if query in NO_ROWS:
            self.notes.append(f"{query}: its rows have been compared with the reference's alone: {NO_ROWS[query]}.")
            return set(found)
        events = {} if is_core else {"events": self.checked_path}
        writers = {key: partial(engine.write_rows, **events) for key, engine in found.items()}
        if "cost" in self.rivals and is_core:
            writers["cost", 1] = self.cost.run
        right = set()
        for (name, cores), write in writers.items():
            try:
                write(query, path)
                theirs = digest(rows_of(query, path))
                path.unlink()
            except Failed as error:
                self.skip(f"{query} by {name} on {cores}: {error}")
                continue
            if theirs == ours:
                right.add((name, cores))
            else:
                self.wrong.append(f"{query}: {name} has {theirs[0]} rows and ours {ours[0]}, or others")
        return right

    def contenders(self, query, right):
        """What to run, by comparison, query, name and cores."""
        found = {}
        ours = self.millstream.run
        is_core = query in CORE
        if "cost" in self.rivals and is_core:
            for cores in self.cores:
                found["file", query, "millstream", cores] = lambda cores=cores: ours(query, cores, "/dev/null")
        if ("cost", 1) in right:
            found["file", query, "cost", 1] = lambda: self.cost.run(query, "/dev/null")
        if self.engines:
            for cores in self.cores if is_core else self.cores[-1:]:
                found["dropped", query, "millstream", cores] = lambda cores=cores: ours(query, cores, None)
        for (name, cores), engine in self.engines_for(query):
            if (name, cores) in right:
                found["dropped", query, name, cores] = lambda engine=engine: engine.time(query)
        return found

    def time(self, contenders):
        runs = {key: [] for key in contenders}
        for _ in range(self.runs + 1):
            for key in list(runs):
                _, query, name, cores = key
                try:
                    runs[key].append(contenders[key]())
                except Failed as error:
                    if name == "millstream":
                        raise
                    self.skip(f"{query or 'all'} by {name} on {cores}: {error}")
                    del runs[key]
        for key, (_, *all_figures) in runs.items():
            # The first has warmed up: caches, a JVM.
            walls, cpus, peaks = zip(*all_figures)
            median = Figures(statistics.median(walls), statistics.median(cpus), max(peaks))
            self.results.append(Result(*key, median, [figures._asdict() for figures in all_figures]))


def rows_of(query, path):
    """The lines of an output; of those in folders with the folder behind the columns."""
    if path.is_dir():
        columns = nexmark.QUERIES[query][1]
        yield from (nexmark.row_text(columns, row).encode("utf-8") for row in nexmark.found_rows(query, path))
        return
    with open(path, "rb") as lines:
        yield from lines


def digest(lines):
    """The number of lines and a sum over them that no order changes: equal for equal multisets of rows, and by chance only
    for others."""
    count, total = 0, 0
    for line in lines:
        count += 1
        total += int.from_bytes(hashlib.blake2b(line.rstrip(b"\n"), digest_size=16).digest(), "little")
    return count, total % 2**128
