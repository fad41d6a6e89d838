#!/usr/bin/env python3
"""DuckDB, kept running: the queries of tests/reference/nexmark.sql on a file of events.

    run_duckdb.py EVENTS THREADS

It is timed where the rows of a query are computed and dropped (EXPLAIN ANALYZE does so, and has no other cost that
shows), the process's start left out. It reads the columns that the queries use, with their types given.
"""

import os
import re
import sys
from pathlib import Path

import serve

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "tests/reference"))

import duckdb
import duckdb_reference

# The zeros at the end of a time's fraction, which ours does not write.
ZEROS = re.compile(rb'(T\d\d:\d\d:\d\d)(?:\.0+|(\.\d*?)0+)"')


def connect(path, threads):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    # Nothing here asks for the order of the file.
    connection.execute("SET preserve_insertion_order = false")
    view(connection, path)
    return connection


def view(connection, path):
    """Has the events of a file in place of those of before."""
    columns = f"{{event_type: 'INTEGER', bid: '{duckdb_reference.BID}'}}"
    quoted = str(path).replace("'", "''")
    connection.execute(
        f"CREATE OR REPLACE VIEW events AS FROM read_json('{quoted}', format = 'newline_delimited', columns = {columns})"
    )


def main():
    out = serve.answers()
    connection, queries = connect(sys.argv[1], int(sys.argv[2])), duckdb_reference.queries()

    def drop_rows(query):
        connection.execute(f"EXPLAIN ANALYZE {queries[query]}").fetchall()

    def time_query(query):
        return serve.measured(os.getpid(), lambda: drop_rows(query))

    def write_rows(query, path, events):
        written = f"{path}.duckdb"
        view(connection, events or sys.argv[1])
        options = "FORMAT json, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%g'"
        connection.execute(f"COPY ({queries[query]}) TO '{written}' ({options})")
        with open(written, "rb") as rows, open(path, "wb") as cut:
            cut.writelines(ZEROS.sub(rb'\1\2"', row) for row in rows)
        os.remove(written)
        view(connection, sys.argv[1])

    serve.serve(out, time_query, write_rows)


if __name__ == "__main__":
    main()
