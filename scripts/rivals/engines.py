"""Engines that are kept running beside ours (run_duckdb.py, run_flink.py): installed, started and asked."""

import json
import subprocess

from measure import PROJECT, Failed, Figures, note

HERE = PROJECT / "scripts/rivals"
# Lines of the input that go into one of two files at once: both advance in event time together.
LINES_AT_ONCE = 1000


class Missing(Exception):
    """An engine that cannot be had on this machine; the text says why."""


class Engine:
    """A process, asked a line at a time. It starts when it is first asked, and again when it is asked after `stop`."""

    def __init__(self, name, script, arguments, log):
        self.command = [python_of(name), "-X", "utf8", "-B", HERE / script, *map(str, arguments)]
        self.log, self.process = log, None

    def start(self):
        with open(self.log, "w", encoding="utf-8") as stderr:
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=stderr, text=True)

    def ask(self, **what):
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"it ended:\n{self.log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def time(self, query):
        return Figures(**self.ask(do="time", query=query))

    def write_rows(self, query, path, events=None):
        self.ask(do="rows", query=query, path=str(path), events=events and str(events))

    def stop(self):
        if self.process is None:
            return
        try:
            self.process.stdin.close()
            self.process.wait(timeout=30)
        except BrokenPipeError:
            self.process.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.process = None


def python_of(name):
    """The Python that has the engine, which is installed if it is not there."""
    installed = subprocess.run([HERE / "install", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if installed.returncode != 0:
        raise Missing((installed.stderr.strip() or "it cannot be installed").splitlines()[-1])
    return installed.stdout.strip()


def duckdb(events_path, threads, table, scratch):
    return Engine("duckdb", "run_duckdb.py", [events_path, threads], scratch / f"duckdb-{threads}.log")


def flink(events_path, tasks, table, scratch):
    python_of("flink")
    return Engine("flink", "run_flink.py", [in_two_files(events_path), tasks, table], scratch / "flink.log")


def in_two_files(events_path):
    """A folder beside the file that holds its lines in two files, made once."""
    folder = events_path.parent / f"{events_path.stem}-in-two"
    if not folder.exists():
        note(f"dealing the events out to two files: {folder}")
        unfinished = folder.with_suffix(".tmp")
        unfinished.mkdir(exist_ok=True)
        paths = [unfinished / f"{number}.ndjson" for number in range(2)]
        with open(events_path, "rb") as lines, open(paths[0], "wb") as first, open(paths[1], "wb") as second:
            files = (first, second)
            for number, line in enumerate(lines):
                files[number // LINES_AT_ONCE % 2].write(line)
        unfinished.rename(folder)
    return folder
