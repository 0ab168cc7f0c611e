"""Writes the tables of BENCHMARKS.md: ``python tests/benchmarks/table.py RESULT.json [RESULT.json ...]``.

RESULT.json is a file that pytest-benchmark writes with ``--benchmark-json``. Rows of a later file replace the same rows
of an earlier file. The text outside the two marks in BENCHMARKS.md is written by hand and stays.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "BENCHMARKS.md"
PLAIN = "plain version of"
"""Key in ``extra_info`` of a plain loop: the name of the benchmark that is compared with it."""
START, END = "<!-- measured: written by tests/benchmarks/table.py -->", "<!-- /measured -->"


def table(results: Sequence[dict[str, Any]]) -> str:
    """The text between the two marks."""
    rows = {bench["fullname"]: (bench, result) for result in results for bench in result["benchmarks"]}
    engine = [pair for pair in rows.values() if "row" in pair[0]["extra_info"]]
    others = [pair for pair in rows.values() if "row" not in pair[0]["extra_info"]]
    parts = [_machine(results[-1]), _compared([pair for pair in engine if "slow" in pair[0]["extra_info"]])]
    parts.append(_limits([pair for pair in engine if "slow" not in pair[0]["extra_info"]]))
    if others:
        parts.append(_others(others))
    return "\n\n".join(part for part in parts if part)


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine_info"]
    processor = f"{machine['cpu'].get('brand_raw', 'unknown processor')}, {machine['cpu'].get('count')} cores"
    return (
        f"Measured on {result['datetime'][:10]}: {processor}, Python {machine['python_version']}, {machine['system']}."
    )


def _compared(pairs: Sequence[tuple[dict[str, Any], Any]]) -> str:
    lines = [
        "| ratio (each repetition) | aim | measurement | ours | slow way | sample of a repetition | threads, clock |",
        "|---|---|---|---|---|---|---|",
    ]
    for bench, _ in pairs:
        info = bench["extra_info"]
        ratios = [slow / ours for slow, ours in zip(info["slow"], info["ours"], strict=True)]
        each = ", ".join(f"{ratio:.1f}" for ratio in sorted(ratios))
        clock = {"process_time": "CPU time", "perf_counter": "wall clock"}.get(info["clock"], "-")
        lines.append(
            f"| **{statistics.median(ratios):.1f}x** ({each}) | {info['aim']:g}x | {info['row']} | "
            f"{_amount(statistics.median(info['ours']), info)} | {_amount(statistics.median(info['slow']), info)} | "
            f"{info['sample']} | {info['n_threads']}, {clock} |"
        )
    return "\n".join(lines) if pairs else ""


def _limits(pairs: Sequence[tuple[dict[str, Any], Any]]) -> str:
    lines = ["| seconds (each repetition) | at most | measurement | sample |", "|---|---|---|---|"]
    for bench, _ in pairs:
        info = bench["extra_info"]
        times = sorted(info["seconds"])
        each = ", ".join(f"{time:.2f}" for time in times)
        measured = f"**{statistics.median(times):.2f} s** ({each})"
        lines.append(f"| {measured} | {info['aim_s']:g} s | {info['row']} | {info['sample']} |")
    return "\n".join(lines) if pairs else ""


def _others(pairs: Sequence[tuple[dict[str, Any], Any]]) -> str:
    plain = {bench["extra_info"][PLAIN]: bench for bench, _ in pairs if PLAIN in bench["extra_info"]}
    lines = ["| ratio to a plain loop | median | measurement | work | plain loop |", "|---|---|---|---|---|"]
    for bench, _ in sorted(pairs, key=lambda pair: str(pair[0]["group"])):
        info = bench["extra_info"]
        if PLAIN in info:
            continue
        what = bench["name"].removeprefix("test_").replace("_", " ")
        ratio, loop = "-", "-"
        if (slow := plain.get(bench["name"])) is not None:
            ratio = f"**{_each(slow) / _each(bench):.1f}x**"
            slow_info = slow["extra_info"]
            loop = f"{_seconds(slow['stats']['median'])} for {slow_info['n']:,} {slow_info['unit']}"
        work = f"{info['n']:,} {info['unit']}" + (f"; {info['note']}" if "note" in info else "")
        lines.append(f"| {ratio} | {_seconds(bench['stats']['median'])} | {bench['group']}: {what} | {work} | {loop} |")
    return "\n".join(lines)


def _each(bench: dict[str, Any]) -> float:
    """Seconds per unit of work."""
    return float(bench["stats"]["median"] / bench["extra_info"]["n"])


def _amount(value: float, info: dict[str, Any]) -> str:
    shown = f"{value:.0f} MB" if info.get("in_mb") else _seconds(value)
    return f"{shown} {info['unit']}".strip()


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{1e3 * value:.3g} ms"


def main(paths: Sequence[Path]) -> None:
    results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{START}\n\n{table(results)}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
