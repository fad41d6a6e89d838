#!/usr/bin/env python3
"""Nexmark's queries run by Flink SQL itself: the reference of the reference.

    flink.py FOLDER TABLE NAME=EVENTS … [--queries q5,q7]

runs every query of flink.sql on every file of nested events, in one embedded Flink with one task, and writes what comes
out to FOLDER/NAME/<query>.ndjson: rows in bytewise order, those of a changelog folded to the final ones. TABLE is what
q13 looks bids up in. It needs Java and the Python module `apache-flink`; scripts/flink-golden installs it and calls this.

A watermark follows each row that moves it (`pipeline.auto-watermark-interval` is 0), so that which rows are late is
decided by their order in the file alone.
"""

import argparse
import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import nexmark

# One task, no checkpoints: a file that ends is read once.
SETTINGS = {
    "parallelism.default": "1",
    "pipeline.auto-watermark-interval": "0ms",
    "table.local-time-zone": "UTC",
    "table.exec.state.ttl": "0 ms",
    "table.exec.mini-batch.allow-latency": "1 s",
    "table.exec.mini-batch.size": "1000",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.network.min": "64m",
    "taskmanager.memory.network.max": "64m",
}
# The JSON of both kinds of output; `debezium-json` says of each row of a changelog whether it comes or goes.
JSON = """'{format}.timestamp-format.standard' = 'ISO-8601',
  '{format}.encode.decimal-as-plain-number' = 'true'"""


IN_BATCHES = "table.exec.mini-batch.enabled"


class Query:
    """A query of flink.sql: `-- name: q5 (auction BIGINT, num BIGINT)`, and `changelog` behind it where rows are taken
    back, also with `in batches`, `in folders` where the last two columns name folders."""

    HEAD = re.compile(r"^-- name: (\w+) \((.*)\)( changelog)?( in batches)?( in folders)?\n", re.MULTILINE)

    def __init__(self, head, text):
        self.name, self.declared = head[1], head[2]
        self.columns = tuple(part.split()[0].strip("`") for part in re.split(r", (?!\d)", self.declared))
        self.format = "debezium-json" if head[3] else "json"
        self.in_batches = bool(head[4])
        self.partitioned = ""
        if head[5]:
            self.partitioned = f"PARTITIONED BY ({', '.join(self.columns[-2:])}) "
            self.columns = (*self.columns[:-2], "folder")
        self.text = text.strip().rstrip(";")

    @classmethod
    def all_of(cls, text):
        heads = list(cls.HEAD.finditer(text))
        ends = [head.start() for head in heads[1:]] + [len(text)]
        return [cls(head, text[head.end() : end]) for head, end in zip(heads, ends)]


class Source:
    """What flink-source.sql declares."""

    DECLARED = re.compile(r"CREATE TEMPORARY (VIEW|TABLE) (\w+)")

    def __init__(self):
        text = (Path(__file__).parent / "flink-source.sql").read_text(encoding="utf-8")
        self.statements = [statement for statement in text.split(";") if statement.strip()]
        self.declared = self.DECLARED.findall(text)

    def declare(self, tables, events, table):
        """Has the events of a file or of a folder, and the table of q13, in place of those of before."""
        for kind, name in self.declared:
            tables.execute_sql(f"DROP TEMPORARY {kind} IF EXISTS {name}")
        for statement in self.statements:
            paths = statement.replace("${INPUT}", str(events.resolve())).replace("${TABLE}", str(table.resolve()))
            tables.execute_sql(paths)


class Flink:
    """An embedded Flink. It starts once for all that is asked of it, for that alone takes seconds."""

    def __init__(self, table, only=None):
        # There are no functions in Python, so nothing of what would run them is started, or need be installed.
        os.environ["_python_worker_execution_mode"] = "process"
        os.environ.setdefault("JVM_ARGS", "-Xmx3g -XX:+UseSerialGC")
        from pyflink.common import Configuration
        from pyflink.table import EnvironmentSettings, TableEnvironment

        self.source, self.table = Source(), table
        queries = Query.all_of((Path(__file__).parent / "flink.sql").read_text(encoding="utf-8"))
        self.queries = [query for query in queries if not only or query.name in only]
        configuration = Configuration()
        for name, value in SETTINGS.items():
            configuration.set_string(name, value)
        settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
        self.tables = TableEnvironment.create(settings.build())

    def run(self, path, scratch, only=None):
        """Runs the queries, or some of them, on a file of events, with scratch files in a folder; yields the name of each
        and its rows, which are to be taken before the next."""
        self.source.declare(self.tables, path, self.table)
        for query in self.queries:
            if only is not None and query.name not in only:
                continue
            began = time.monotonic()
            yield query.name, rows_of(self.tables, query, scratch / f"{query.name}.parts")
            seconds = time.monotonic() - began
            print(f"{path.name} {query.name}: {seconds:.1f} s", file=sys.stderr, flush=True)


def run_into_files(tables, query, folder):
    """Runs a query whose rows go into files below a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    tables.get_config().set(IN_BATCHES, str(query.in_batches).lower())
    tables.execute_sql(
        f"""CREATE TEMPORARY TABLE sink_of_{query.name} ({query.declared}) {query.partitioned}WITH (
  'connector' = 'filesystem', 'path' = '{folder.resolve()}', 'format' = '{query.format}',
  {JSON.format(format=query.format)})"""
    )
    tables.execute_sql(f"INSERT INTO sink_of_{query.name} {query.text}").wait()
    tables.execute_sql(f"DROP TEMPORARY TABLE sink_of_{query.name}")
    tables.get_config().set(IN_BATCHES, "false")


def rows_of(tables, query, folder):
    """Runs a query and yields its rows as texts; the folder holds scratch files meanwhile."""
    run_into_files(tables, query, folder)
    yield from (final if query.format == "debezium-json" else appended)(query, lines_of(query, folder))
    # Where there are no rows there may be no folder.
    shutil.rmtree(folder, ignore_errors=True)


def lines_of(query, folder):
    """The lines of all files below a folder, with the folder that they are in where that is a part of the row."""
    for part in sorted(part for part in folder.rglob("*") if part.is_file()):
        with open(part, encoding="utf-8", newline="\n") as lines:
            lines = (line.removesuffix("\n") for line in lines)
            if query.partitioned:
                # Some signs are escaped in the names, a `:` for instance.
                below = json.dumps(unquote(part.parent.relative_to(folder).as_posix()), ensure_ascii=False)
                lines = (f'{line[:-1]},"folder":{below}}}' for line in lines)
            yield from lines


def row_of(query, record):
    if tuple(record) != query.columns:
        raise ValueError(f"{query.name}: {record} has not the columns {query.columns}")
    return nexmark.row_text(query.columns, tuple(record.values()))


def appended(query, lines):
    """The rows themselves. They are as Flink writes them: the reference writes the same bytes."""
    for line in lines:
        text = row_of(query, json.loads(line, parse_float=Decimal))
        if text != line:
            raise ValueError(f"{query.name}: Flink writes {line}, the reference {text}")
        yield line


def final(query, lines):
    """What is left of a changelog when all has been taken back that was."""
    weights = Counter()
    for line in lines:
        change = json.loads(line, parse_float=Decimal)
        if change["op"] == "c":
            weights[row_of(query, change["after"])] += 1
        elif change["op"] == "d":
            weights[row_of(query, change["before"])] -= 1
        else:
            raise ValueError(f"{query.name}: {line}")
    if min(weights.values(), default=0) < 0:
        raise ValueError(f"{query.name}: a row was taken back that had not come")
    yield from weights.elements()


def arguments():
    parser = argparse.ArgumentParser(description="Results of Nexmark queries by Flink.")
    parser.add_argument("folder", type=Path, help="where the rows go")
    parser.add_argument("table", type=Path, help="what q13 looks bids up in")
    parser.add_argument("inputs", nargs="+", metavar="NAME=EVENTS", help="a file of events, and what to call it")
    parser.add_argument("--queries", help="only these, by their names in flink.sql with commas between")
    options = parser.parse_args()
    options.inputs = [(name, Path(path)) for name, _, path in (text.partition("=") for text in options.inputs)]
    for name, path in options.inputs:
        if not path.is_file():
            parser.error(f"{name}: there is no file {path}")
    return options


def main():
    options = arguments()
    engine = Flink(options.table, options.queries and options.queries.split(","))
    for name, path in options.inputs:
        folder = options.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        for query, rows in engine.run(path, folder):
            lines = sorted(row.encode("utf-8") + b"\n" for row in rows)
            (folder / f"{query}.ndjson").write_bytes(b"".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
