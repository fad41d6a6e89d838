"""Programs run and measured as whole processes: ours, and those of benches/cost."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parent.parent.parent


class Figures(NamedTuple):
    """Wall and CPU seconds (user and system, of all threads) and the peak of resident memory in bytes."""

    wall: float
    cpu: float
    peak: int


class Failed(Exception):
    """A run did not end well; the text says what it was and what it said."""


def note(text):
    print(text, file=sys.stderr, flush=True)


def measured(what, command, environment, log):
    """Runs a program to its end, with its standard error in a file. It starts as a copy of this process, so that its peak
    is never told below what this one holds, some 20 MiB."""
    with open(log, "w", encoding="utf-8") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{what} ended with {process.returncode}:\n{Path(log).read_text(encoding='utf-8', errors='replace')}")
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def millstream_program():
    """The release build, made now, unless MILLSTREAM names a program."""
    if "MILLSTREAM" in os.environ:
        return Path(os.environ["MILLSTREAM"]).resolve()
    subprocess.run(["cargo", "build", "--release"], cwd=PROJECT, check=True)
    return PROJECT / os.environ.get("CARGO_TARGET_DIR", "target") / "release/millstream"


def cost_program():
    """The programs of benches/cost, built now, unless COST names them."""
    if "COST" in os.environ:
        return Path(os.environ["COST"]).resolve()
    command = ["cargo", "bench", "--bench", "cost", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE).stdout
    for line in built.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "cost":
            return Path(message["executable"])
    raise Failed("cargo built no program for benches/cost")


class Millstream:
    """Pipelines of pipelines/nexmark, which read one file of events; into a file, or into `blackhole`, which drops rows
    whose columns have all been computed."""

    def __init__(self, program, events_path, scratch):
        self.program, self.events_path, self.scratch = program, events_path, scratch

    def run(self, query, cores, output):
        """One run; `output` is a path, or None for `blackhole`."""
        pipeline = PROJECT / f"pipelines/nexmark/{query}.yaml" if output else self.without_file(query)
        state = self.scratch / f"state-{query}-{'file' if output else 'blackhole'}"
        command = [self.program, "run", pipeline, "--cores", str(cores), "--state-dir", state]
        environment = {**os.environ, "NEXMARK_INPUT": str(self.events_path), "NEXMARK_TABLE": str(self.table())}
        # q10 writes a folder of files, which nothing stands for as /dev/null does for a file.
        folder = self.scratch / "q10-files" if query == "q10" and str(output) == "/dev/null" else None
        if output:
            environment["NEXMARK_OUTPUT"] = str(folder or output)
        figures = measured(f"{query} on {cores} cores", command, environment, self.scratch / "report")
        if folder:
            shutil.rmtree(folder)
        return figures

    def table(self):
        """The table that q13 looks bids up in, made once."""
        path = self.scratch / "side.csv"
        if not path.exists():
            subprocess.run([self.program, "gen", "nexmark", "--events", "0", "--side", path], check=True, stdout=subprocess.DEVNULL)
        return path

    def without_file(self, query):
        """The pipeline with another sink: a component cannot be replaced by `--set`."""
        text = (PROJECT / f"pipelines/nexmark/{query}.yaml").read_text(encoding="utf-8")
        chain = re.sub(r"\nsink:\n.*", "\nsink:\n  blackhole: {}\n", text, flags=re.DOTALL)
        graph = re.sub(r"(\nsinks:\n  out:\n    from: \w+\n).*", r"\1    blackhole: {}\n", text, flags=re.DOTALL)
        if chain == graph:
            raise Failed(f"{query}: the pipeline has neither a line `sink:` nor a sink `out`")
        path = self.scratch / f"{query}-blackhole.yaml"
        path.write_text(graph if chain == text else chain, encoding="utf-8")
        return path

    def is_right(self, query):
        """Whether the rows are those of the reference; they are left in the file that is returned with the answer."""
        output = self.scratch / f"{query}.ndjson"
        self.run(query, 2, output)
        reference = PROJECT / "tests/reference/nexmark.py"
        checked = subprocess.run([sys.executable, reference, query, self.events_path, "--check", output])
        return checked.returncode == 0, output


class Cost:
    """The programs of benches/cost."""

    def __init__(self, program, events_path, scratch):
        self.program, self.events_path, self.scratch = program, events_path, scratch

    def run(self, what, output=None):
        """One run of a query into a file, or of `tape` or `newlines`."""
        command = [self.program, what, self.events_path] + ([output] if output else [])
        return measured(f"cost {what}", command, os.environ, self.scratch / "report")
