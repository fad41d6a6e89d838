"""What `scripts/bench --vs` found, as Markdown and as JSON."""

import datetime
import json
import re

from versus import CORE

NAMES = {
    "millstream": "Millstream",
    "cost": "COST program",
    "tape": "simd-json tape, nothing else",
    "newlines": "newline count, nothing else",
    "duckdb": "DuckDB",
    "flink": "Flink SQL",
}
TITLES = {
    "file": "From the file to rows in /dev/null, whole processes",
    "dropped": "All columns computed and dropped; of the other engines the query alone is timed",
}
HEAD = """\
| query | who | cores | wall s | M events/s | CPU-s per M events | wall, × ours | CPU, × ours | peak MiB |
|---|---|---|---|---|---|---|---|---|
"""
# What the summary holds side by side: the comparison, on how many cores, against whom.
SUMMARY = (("file", 1, ["cost"]), ("dropped", 2, ["duckdb", "flink"]))
SUMMARY_HEAD = """\
| query | ours, 1 core, rows to /dev/null | COST | ours / COST | ours, 2 cores, rows dropped | DuckDB | ours / DuckDB | Flink | ours / Flink |
|---|---|---|---|---|---|---|---|---|
"""
# All queries beside Flink, which alone has them all: rows dropped, on two cores.
ALL_TITLE = "All queries, ours and Flink's: all columns computed and dropped, 2 cores"
ALL_HEAD = """\
| query | ours, M events/s | Flink | ours / Flink | ours, CPU-s per M events | Flink | Flink / ours | ours, peak MiB | Flink | ours / Flink |
|---|---|---|---|---|---|---|---|---|---|
"""
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def line_of(*cells):
    return "".join(f"| {cell} " if cell != "" else "| " for cell in cells) + "|"


class Report:
    """The results and what belongs to them."""

    def __init__(self, versus, events, machine, load):
        self.versus, self.events, self.machine, self.load = versus, events, machine, load
        self.date = datetime.date.today().isoformat()

    def ours(self, result):
        """Our result that another is held against: of as many cores, or the nearest."""
        same = [other for other in self.versus.results if other[:2] == result[:2] and other.name == "millstream"]
        return min(same, key=lambda other: abs(other.cores - result.cores), default=None)

    def row(self, result):
        millions, figures, ours = self.events / 1e6, result.figures, self.ours(result)
        ratios = ["", ""]
        if ours and ours is not result:
            ratios = [f"{figures.wall / ours.figures.wall:.2f}", f"{figures.cpu / ours.figures.cpu:.2f}"]
        return line_of(
            result.query or "all",
            NAMES[result.name],
            result.cores,
            f"{figures.wall:.3f}",
            f"{millions / figures.wall:.2f}",
            f"{figures.cpu / millions:.3f}",
            *ratios,
            f"{figures.peak / 2**20:.0f}",
        )

    def queries(self):
        """Those that have been timed, in their order."""
        return list(dict.fromkeys(result.query for result in self.versus.results if result.query))

    def all_queries(self):
        """Each query, ours and Flink's, a line each; nothing where Flink has run none."""
        results = [result for result in self.versus.results if result.comparison == "dropped" and result.cores == 2]
        found = {(result.query, result.name): result.figures for result in results}
        if not any(name == "flink" for _, name in found):
            return ""
        queries = sorted(self.queries(), key=lambda name: (not name[1:].isdigit(), len(name), name))
        lines = (self.beside_flink(query, found) for query in queries)
        return f"### {ALL_TITLE}\n\n{ALL_HEAD}" + "\n".join(lines) + "\n"

    def beside_flink(self, query, found):
        """A line of throughput, CPU time and memory; without ratios where there is one side only."""
        ours, theirs = (found.get((query, name)) for name in ("millstream", "flink"))
        measures = (
            (lambda figures: self.events / 1e6 / figures.wall, "{:.2f}", lambda ours, theirs: f"{ours / theirs:.1f}"),
            (lambda figures: figures.cpu / self.events * 1e6, "{:.3f}", lambda ours, theirs: f"{theirs / ours:.1f}"),
            (lambda figures: figures.peak / 2**20, "{:.0f}", lambda ours, theirs: f"{ours / theirs:.3f}"),
        )
        cells = [query]
        for figure, form, ratio in measures:
            cells += [form.format(figure(figures)) if figures else "" for figures in (ours, theirs)]
            cells.append(ratio(figure(ours), figure(theirs)) if ours and theirs else "")
        return line_of(*cells)

    def summary(self):
        """CPU time of each query, ours and the rivals', a line each; nothing where no query has been timed."""
        cpu = {result[:4]: result.figures.cpu / self.events * 1e6 for result in self.versus.results}
        queries = [query for query in self.queries() if query in CORE]
        if not queries:
            return ""
        lines = []
        for query in queries:
            cells = [query]
            for comparison, cores, rivals in SUMMARY:
                ours = cpu.get((comparison, query, "millstream", cores))
                cells.append("" if ours is None else f"{ours:.3f}")
                for name in rivals:
                    theirs = cpu.get((comparison, query, name, cores))
                    known = ours is not None and theirs is not None
                    cells += [f"{theirs:.3f}", f"{ours / theirs:.2f}"] if known else ["", ""]
            lines.append(line_of(*cells))
        return "### CPU-seconds per million events\n\n" + SUMMARY_HEAD + "\n".join(lines) + "\n"

    def markdown(self):
        size = self.versus.events_path.stat().st_size / self.events
        parts = [
            f"{self.date}; {self.events:,} events of {size:.0f} bytes, medians of {self.versus.runs} interleaved runs;"
            f" {self.machine}; load average {self.load[0]:.1f} before and {self.load[1]:.1f} after.\n"
        ]
        if self.load[0] > 0.5:
            parts.append(
                "**The machine was busy with other work**: wall times are the scheduler's as much as the programs';"
                " CPU times and their ratios hold, roughly.\n"
            )
        parts += [table for table in (self.summary(), self.all_queries()) if table]
        parts += [f"{note}\n" for note in self.versus.notes]
        for comparison, title in TITLES.items():
            results = [result for result in self.versus.results if result.comparison == comparison]
            results = [result for result in results if result.query is None or result.query in CORE]
            if results:
                parts.append(f"### {title}\n")
                parts.append(HEAD + "\n".join(map(self.row, results)) + "\n")
        parts += [f"WRONG: {what}\n" for what in self.versus.wrong]
        # What an engine said at length has gone to standard error.
        parts += [f"SKIPPED: {what.splitlines()[0]}\n" for what in self.versus.skipped]
        return "\n".join(parts)

    def json(self):
        results = [{**result._asdict(), "figures": result.figures._asdict()} for result in self.versus.results]
        versus = self.versus
        about = {"date": self.date, "events": self.events, "machine": self.machine, "load_average": self.load}
        found = {"wrong": versus.wrong, "skipped": versus.skipped, "notes": versus.notes, "results": results}
        return json.dumps({**about, **found}, indent=1) + "\n"

    def update(self, path):
        """Puts the tables between the markers of a file, in place of those of before."""
        text = path.read_text(encoding="utf-8")
        between = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
        if not between.search(text):
            raise ValueError(f"{path}: there is no `{BEGIN}` with `{END}` behind it")
        path.write_text(between.sub(lambda _: f"{BEGIN}\n\n{self.markdown()}\n{END}", text), encoding="utf-8")
