"""How figures are shown: tables, and what was promised beside what came."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.scheduling.figures import OURS, Figures
from worker.domain.jobs import Priority

WITH_LOADS = ("W1", "W2", "W3", "W4", "W6", "W7")
"""Where a bound on loads says something; with arrivals over time it does not."""
FLOW = (Priority.HIGH, Priority.NORMAL, Priority.BULK)
BEGIN, END = "<!-- simulation -->", "<!-- end of simulation -->"


def tables(found: Sequence[Figures]) -> str:
    """A markdown table for each workload."""
    parts = []
    for workload in dict.fromkeys(one.workload for one in found):
        rows = [one for one in found if one.workload == workload]
        columns = ["T/LB", "loads", "load share"]
        if workload in WITH_LOADS:
            columns.insert(2, "loads/LB")
        if any(one.urgent for one in rows):
            columns.append("urgent p50 / p99")
        if any(one.dated for one in rows):
            columns.append("deadlines missed")
        if any(one.documents for one in rows):
            columns.append("prefixes / least")
        if any(one.mean_flow(Priority.HIGH) for one in rows):
            columns.append("mean time high / normal / bulk")
        columns.append("longest wait")
        head = f"| {workload} | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}"
        body = [f"| {_name(one)} | {' | '.join(_cell(one, column) for column in columns)} |" for one in rows]
        parts.append(f"**{workload}**: {rows[0].about}\n\n" + "\n".join([head, *body]))
    return "\n\n".join(parts)


def _name(one: Figures) -> str:
    return f"**{one.policy}**" if one.policy == OURS else one.policy


def _cell(one: Figures, column: str) -> str:
    match column:
        case "T/LB":
            return f"{one.time_ratio:.3f}"
        case "loads":
            return f"{sum(one.loads) / len(one.loads):.1f}"
        case "loads/LB":
            return f"{one.load_ratio:.2f}"
        case "load share":
            return f"{100 * sum(one.share) / len(one.share):.1f} %"
        case "urgent p50 / p99":
            return f"{one.urgent_at(0.5):.1f} s / {one.urgent_at(0.99):.1f} s" if one.urgent else "–"
        case "deadlines missed":
            return f"{100 * one.missed / one.dated:.1f} %" if one.dated else "–"
        case "prefixes / least":
            return f"{one.prefix_ratio:.3f}" if one.prefix_ratio is not None else "–"
        case "mean time high / normal / bulk":
            means = [one.mean_flow(priority) for priority in FLOW]
            return " / ".join("–" if mean is None else f"{mean:.0f} s" for mean in means)
        case _:
            return f"{one.wait:.0f} s"


def promises(found: Sequence[Figures]) -> list[tuple[str, bool]]:
    """What the planner is held to, and whether it came so."""
    ours = {one.workload: one for one in found if one.policy == OURS}
    told: list[tuple[str, bool]] = []

    def promise(workload: str, what: str, value: float, limit: float) -> None:
        told.append((f"{workload} {what}: {value:.3f}, at most {limit:g}", value <= limit))

    for workload in ("W1", "W2"):
        if workload in ours:
            promise(workload, "T/LB", ours[workload].time_ratio, 1.02)
            promise(workload, "loads/LB", ours[workload].load_ratio, 1.3)
    if "W4" in ours:
        promise("W4", "T/LB", ours["W4"].time_ratio, 1.05)
        promise("W4", "urgent p99, seconds", ours["W4"].urgent_at(0.99) or 0.0, 20)
    for workload in ("W5", "W5b"):
        if workload in ours:
            promise(workload, "deadlines missed that strict EDF meets", ours[workload].missed_but_met, 0)
    if "W7" in ours:
        promise("W7", "prefixes / least", ours["W7"].prefix_ratio or 1.0, 1.03)
    return told


def write_results(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put ``text`` between its marks in the file of results, which other benchmarks write to as well."""
    whole = path.read_text(encoding="utf-8") if path.exists() else "# What the benchmarks gave\n"
    section = f"{begin}\n{text}\n{end}\n"
    if begin in whole and end in whole:
        before, _, rest = whole.partition(begin)
        section = before + section + rest.partition(end)[2].lstrip("\n")
    else:
        section = whole.rstrip("\n") + "\n\n" + section
    path.write_text(section, encoding="utf-8")
