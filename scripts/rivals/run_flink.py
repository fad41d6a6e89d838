#!/usr/bin/env python3
"""Flink SQL, kept running: the queries of Nexmark on a folder of files of events, in one embedded cluster.

    run_flink.py FOLDER TASKS TABLE

It is timed by its own account, the net time of a job, in a JVM that has run before; rows go into `blackhole`. CPU time is
that of the JVM meanwhile, its compilers and collectors included, as is its peak of resident memory; what the job before has
left behind is collected first. No checkpoints are taken. TABLE is what q13 looks bids up in.
"""

import os
import shutil
import sys
from pathlib import Path

import serve

HERE = Path(__file__).resolve().parent
REFERENCE = HERE.parent.parent / "tests/reference"
sys.path.insert(0, str(REFERENCE))

import flink

SETTINGS = {
    "pipeline.object-reuse": "true",
    "table.local-time-zone": "UTC",
    "table.exec.mini-batch.allow-latency": "1 s",
    "table.exec.mini-batch.size": "1000",
    "taskmanager.memory.managed.size": "512m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
}
# The most that the heap may take, GiB: what suffices for 5,000,000 events. Joins keep all bids, on the heap.
HEAP_GIB, HEAP_GIB_OF_JOINS = 3, 10
JOINS = ("q4", "q9", "q13", "q20", "q23")
# The shape of the benchmark's own q7. The others have their names.
FORMS = {"q7": "q7_join"}


def environment(tasks, heap_gib):
    os.environ["_python_worker_execution_mode"] = "process"
    os.environ.setdefault("JVM_ARGS", f"-Xmx{heap_gib}g")
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for name, value in {**SETTINGS, "parallelism.default": str(tasks)}.items():
        configuration.set_string(name, value)
    settings = EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration)
    return TableEnvironment.create(settings.build())


def java_process():
    """The JVM, which is a child of this process."""
    for entry in Path("/proc").iterdir():
        try:
            name, _, fields = (entry / "stat").read_text(encoding="utf-8").partition(" (")[2].rpartition(") ")
        except OSError:
            continue
        if name == "java" and int(fields.split()[1]) == os.getpid():
            return int(entry.name)
    raise RuntimeError("there is no java process")


def queries():
    texts = [(folder / "flink.sql").read_text(encoding="utf-8") for folder in (HERE, REFERENCE)]
    return {query.name: query for text in texts for query in flink.Query.all_of(text)}


class Jobs:
    """The JVM, which starts when it is first asked for a query: with the heap that this one needs."""

    def __init__(self, folder, tasks, table):
        self.folder, self.tasks, self.table = folder, tasks, table
        self.queries, self.source, self.tables, self.java = queries(), flink.Source(), None, None

    def query(self, name):
        """A query, for which all is there."""
        if self.tables is None:
            self.tables = environment(self.tasks, HEAP_GIB_OF_JOINS if name in JOINS else HEAP_GIB)
            self.source.declare(self.tables, self.folder, self.table)
            self.java = java_process()
        return self.queries[FORMS.get(name, name)]

    def time_query(self, query):
        query = self.query(query)
        self.tables.execute_sql("DROP TEMPORARY TABLE IF EXISTS rows_out")
        self.tables.execute_sql(f"CREATE TEMPORARY TABLE rows_out ({query.declared}) WITH ('connector' = 'blackhole')")

        def insert():
            job = self.tables.execute_sql(f"INSERT INTO rows_out {query.text}").get_job_client()
            return job.get_job_execution_result().result().get_net_runtime() / 1000

        self.collect()
        return serve.measured(self.java, insert)

    def collect(self):
        """Has collected what the job before has left behind."""
        from pyflink.java_gateway import get_gateway

        get_gateway().jvm.System.gc()

    def write_rows(self, query, path, events=None):
        """Writes the rows of a query; of a file of events by one task, where one is named."""
        query = self.query(query)
        if events:
            self.tables.get_config().set("parallelism.default", "1")
            self.source.declare(self.tables, Path(events), self.table)
        try:
            with open(path, "wb") as out:
                out.writelines(self.rows(query, Path(f"{path}.parts")))
        finally:
            if events:
                self.tables.get_config().set("parallelism.default", str(self.tasks))
                self.source.declare(self.tables, self.folder, self.table)

    def rows(self, query, parts):
        """The lines of a query; they are as Flink writes them, but for those of a changelog, which are the final ones, and
        those in folders, which tell theirs."""
        if query.format == "debezium-json" or query.partitioned:
            yield from (row.encode("utf-8") + b"\n" for row in flink.rows_of(self.tables, query, parts))
            return
        flink.run_into_files(self.tables, query, parts)
        for part in parts.rglob("*"):
            with open(part, "rb") as lines:
                yield from lines
        shutil.rmtree(parts, ignore_errors=True)


def main():
    out = serve.answers()
    jobs = Jobs(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    serve.serve(out, jobs.time_query, jobs.write_rows)


if __name__ == "__main__":
    main()
