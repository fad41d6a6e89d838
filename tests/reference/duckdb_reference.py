#!/usr/bin/env python3
"""The queries of nexmark.sql run by DuckDB on a file of nested events: a second opinion on nexmark.py.

Rows and differences are written as nexmark.py writes them. DuckDB runs them in batch: nothing is late, so that q5,
q7, q11 and qt are the same only for events in order. It is not installed by anything here: `pip install duckdb`.

    duckdb_reference.py q1 events.ndjson --check out/q1.ndjson
"""

import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

import nexmark
from events import EPOCH, time_text

BID = (
    "STRUCT(auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,"
    ' "dateTime" TIMESTAMP, extra VARCHAR)'
)
ROWS_AT_ONCE = 10_000


def queries():
    text = Path(__file__).with_name("nexmark.sql").read_text(encoding="utf-8")
    return dict(re.findall(r"^-- name: (\w+)\n(.*?);", text, re.MULTILINE | re.DOTALL))


def rows(connection, query):
    cursor = connection.execute(query)
    while some := cursor.fetchmany(ROWS_AT_ONCE):
        for row in some:
            yield tuple(map(value, row))


def value(found):
    if isinstance(found, datetime):
        return time_text((found - EPOCH) // timedelta(milliseconds=1))
    return found


def main():
    options = nexmark.arguments("Results of Nexmark queries by DuckDB.")
    try:
        import duckdb
    except ImportError:
        print("DuckDB's Python module is missing: pip install duckdb", file=sys.stderr)
        return 2
    connection = duckdb.connect()
    # One thread, in the order of the file: which of two bids came first is the number of its line.
    connection.execute("SET preserve_insertion_order = true")
    connection.execute("SET threads = 1")
    columns = f"{{event_type: 'INTEGER', bid: '{BID}'}}"
    path = options.input.replace("'", "''")
    connection.execute(
        f"CREATE VIEW events AS FROM read_json('{path}', format = 'newline_delimited', columns = {columns})"
    )
    query, (_, names) = queries()[options.query], nexmark.QUERIES[options.query]
    if options.check:
        expected = lambda: rows(connection, query)
        found = lambda: nexmark.found_rows(options.query, options.check)
        return 0 if nexmark.check(names, expected, found, options.differences, sys.stderr) else 1
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    nexmark.write_rows(names, rows(connection, query), sys.stdout)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
