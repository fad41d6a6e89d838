#!/usr/bin/env python3
"""Flink SQL, kept running: the queries of Nexmark on a folder of files of events, in one embedded cluster.

    run_flink.py FOLDER TASKS

It is timed by its own account, the net time of a job, in a JVM that has run before; rows go into `blackhole`. CPU time is
that of the JVM meanwhile, its compilers and collectors included. No checkpoints are taken.
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
    "taskmanager.memory.managed.size": "512m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
}
# The shape of the benchmark's own q7. The others have their names.
FORMS = {"q7": "q7_join"}


def environment(tasks):
    os.environ["_python_worker_execution_mode"] = "process"
    os.environ.setdefault("JVM_ARGS", "-Xmx3g")
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
    def __init__(self, folder, tasks):
        self.tables, self.queries = environment(tasks), queries()
        source = (REFERENCE / "flink-source.sql").read_text(encoding="utf-8")
        for statement in source.split(";"):
            if statement.strip():
                self.tables.execute_sql(statement.replace("${INPUT}", str(folder)))
        self.java = java_process()

    def insert(self, query, connector):
        """Runs a query into a sink; its net seconds."""
        query = self.queries[FORMS.get(query, query)]
        self.tables.execute_sql("DROP TEMPORARY TABLE IF EXISTS rows_out")
        self.tables.execute_sql(f"CREATE TEMPORARY TABLE rows_out ({query.declared}) WITH ({connector})")
        job = self.tables.execute_sql(f"INSERT INTO rows_out {query.text}").get_job_client()
        return job.get_job_execution_result().result().get_net_runtime() / 1000

    def time_query(self, query):
        return serve.measured(self.java, lambda: self.insert(query, "'connector' = 'blackhole'"))

    def write_rows(self, query, path):
        parts = Path(f"{path}.parts")
        shutil.rmtree(parts, ignore_errors=True)
        connector = f"'connector' = 'filesystem', 'path' = '{parts.resolve()}', 'format' = 'json', "
        self.insert(query, connector + flink.JSON.format(format="json"))
        with open(path, "wb") as rows:
            for part in sorted(parts.iterdir()):
                with open(part, "rb") as some:
                    shutil.copyfileobj(some, rows)
        shutil.rmtree(parts)


def main():
    out = serve.answers()
    jobs = Jobs(Path(sys.argv[1]).resolve(), int(sys.argv[2]))
    serve.serve(out, jobs.time_query, jobs.write_rows)


if __name__ == "__main__":
    main()
