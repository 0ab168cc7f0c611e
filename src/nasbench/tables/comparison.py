"""Run many searchers with many seeds on tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from nasbench.errors import NasbenchError
from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.runs.request import RunRequest
from nasbench.search.searcher import MultiFidelitySearcher
from nasbench.tables.simulation import METHODS, make_simulation, simulate
from nasbench.tables.table import Table

METHOD = METHODS[0]


def searchers_for_tables() -> tuple[str, ...]:
    """Names of all searchers that ``ws-nas`` can run on a table."""
    found = registry.searchers()
    return tuple(
        name
        for name in sorted(found)
        if not issubclass(found[name], MultiFidelitySearcher)
        and not found[name].expects_depths
        and "small" in found[name].spaces
    )


def run_all(
    tables: Sequence[Table],
    searchers: Sequence[str],
    seeds: Sequence[int],
    max_evaluations: int,
    results: Path,
    plugins: tuple[Path, ...] = (),
    progress: Callable[[int, int, str], None] = lambda *_: None,
) -> None:
    """Run every searcher with every seed on every table. Complete runs are skipped, so a killed comparison goes on.

    Args:
        results: the folder of records; the runs on a table are below a folder with its name.
        progress: told the runs done, all runs, and what runs now.

    Raises:
        UserError: for a searcher that does not exist or cannot run on a table.
        NasbenchError: if a run fails.
    """
    requests = [
        (table, _request(table, searcher, seed, max_evaluations, results, plugins))
        for table in tables
        for seed in seeds
        for searcher in searchers
    ]
    for done, (table, request) in enumerate(requests):
        progress(done, len(requests), f"{request.searcher.name if request.searcher else ''}, {request.folder}")
        folder = RunFolder(request.folder)
        if folder.exists() and folder.read_run().status == "complete":
            continue
        record = simulate(request, table)
        if record.status == "failed":
            raise NasbenchError(f"{request.folder}: {record.reason}")


def _request(
    table: Table, searcher: str, seed: int, max_evaluations: int, results: Path, plugins: tuple[Path, ...]
) -> RunRequest:
    info = table.info
    defaults = dataclasses.asdict(registry.methods()[METHOD].Options())
    settings = [f"{name}={value}" for name, value in info.options.items() if value != defaults.get(name)]
    request, _ = make_simulation(
        METHOD, info.task, model=info.model, table=table.path, searcher=searcher, seed=seed, settings=settings,
        plugins=plugins, max_evaluations=max_evaluations, results=results / table.name,
    )  # fmt: skip
    return request
