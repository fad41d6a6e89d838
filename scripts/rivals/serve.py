"""An engine that is kept running and told what to do, a line of JSON at a time: the side of the engine.

    {"do": "time", "query": "q5"}                       -> {"wall": …, "cpu": …, "peak": …}: seconds, seconds, bytes
    {"do": "rows", "query": "q5", "path": "q5.ndjson"}  -> {}: the rows are written there, one JSON object a line; of the
                                                           file of events that "events" names, where it does

What fails is answered with {"error": …}. Nothing else comes on standard output.
"""

import json
import os
import sys
import time


def answers():
    """Standard output for answers alone: what the engine itself, or what it starts, prints there goes to standard error."""
    kept = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return kept


def serve(out, time_query, write_rows):
    """Answers until the input ends. `time_query(query)` and `write_rows(query, path, events)` do the work."""
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["do"] == "time":
                answer = time_query(asked["query"])
            else:
                write_rows(asked["query"], asked["path"], asked.get("events"))
                answer = {}
        except Exception as error:  # Whatever an engine may throw is told, and the others go on.
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), file=out, flush=True)


def forget_peak(pid):
    """Lets the peak of resident memory begin at what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as clear:
        clear.write("5")


def peak_bytes(pid):
    """The highest resident memory of a process since its peak was forgotten."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def cpu_seconds(pid):
    """User and system time of a process, all its threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(pid, work):
    """The figures of what a process does during `work()`, which may return the wall seconds by its own account."""
    forget_peak(pid)
    cpu, began = cpu_seconds(pid), time.perf_counter()
    wall = work()
    elapsed = time.perf_counter() - began
    return {"wall": wall or elapsed, "cpu": cpu_seconds(pid) - cpu, "peak": peak_bytes(pid)}
