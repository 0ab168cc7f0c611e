"""``nasbench report``: from a results folder to tables, figures and one HTML page."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from nasbench import __version__
from nasbench.errors import UnknownName

from . import style
from .experiments import MissingRuns
from .figures import FIGURES
from .frame import Results, read_results
from .leaderboard import Section, sections
from .page import PageFigure, write_page
from .quantiles import Quantiles, fit_quantiles, load_quantiles
from .scores import Scores, score
from .tables import make_tables, write_tables

PAGE = "report.html"


@dataclass(frozen=True)
class ReportOutcome:
    """What a report leaves behind.

    Attributes:
        warnings: what a reader must know: records left out, runs that failed, cells without frozen quantiles, figures
            without runs.
        files: everything written, the page last if there is one.
        exit_code: 1 if a record is damaged, else 0.
    """

    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    exit_code: int


def report(results: Path, out: Path, figures: tuple[str, ...] | None = None, refit: bool = False) -> ReportOutcome:
    """Write the report of a results folder.

    Args:
        results: the results folder; may hold no run.
        out: where to write: ``report.html``, ``tables/`` and ``figures/``; made if missing.
        figures: names of :data:`nasbench.analysis.figures.FIGURES` to make instead of everything; then there is no page
            and there are no tables.
        refit: normalise by all runs at hand, the paper's way, instead of by the frozen quantiles.

    Raises:
        UserError: if there is no such folder.
        UnknownName: for a figure that does not exist.
        MissingRuns: if all figures asked for by name lack runs.
    """
    for name in figures or ():
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    found = read_results(results)
    quantiles = fit_quantiles(found.finished().evaluations) if refit else load_quantiles()
    scores = score(found, quantiles)
    drawn = [_draw(name, found, scores, out / "figures") for name in figures or FIGURES]
    files = [path for made in drawn for path in made.files]
    missing = [made.missing for made in drawn if made.missing is not None]
    if figures and len(missing) == len(drawn):
        raise missing[0]
    warnings = [*found.warnings, *scores.warnings]
    if figures is None:
        official = sections(found, quantiles)
        boards = official + _with_unofficial(found, quantiles)
        files += write_tables(make_tables(found, scores, boards), out / "tables")
        page = out / PAGE
        shown = [made.on_page() for made in drawn]
        write_page(page, found, scores, boards, len(official), shown, warnings, __version__)
        files.append(page)
    warnings += [str(error) for error in missing]
    return ReportOutcome(tuple(warnings), tuple(files), found.exit_code)


def _with_unofficial(results: Results, quantiles: Quantiles) -> list[Section]:
    """The leaderboard's sections again with the unofficial runs, where there are any."""
    runs = results.runs
    unofficial = runs[~runs["official"].astype(bool)]
    concerned = runs["track"].isin(unofficial["track"]) & runs["device_class"].isin(unofficial["device_class"])
    everything = dataclasses.replace(results, runs=runs.assign(official=True)).select(concerned)
    return [
        dataclasses.replace(board, title=f"{board.title}, with unofficial runs")
        for board in sections(everything, quantiles)
    ]


@dataclass(frozen=True)
class _Drawn:
    name: str
    files: tuple[Path, ...]
    missing: MissingRuns | None

    def on_page(self) -> PageFigure:
        entry = FIGURES[self.name]
        if self.missing is not None:
            text = str(self.missing).partition(";")[0]
            return PageFigure(self.name, entry.heading, entry.title, missing=text, command=self.missing.command)
        # SVG is sharp at any size, but many lines can make it larger than its picture.
        smallest = min((path for path in self.files if path.suffix != ".pdf"), key=lambda path: path.stat().st_size)
        return PageFigure(self.name, entry.heading, entry.title, image=smallest)


def _draw(name: str, results: Results, scores: Scores, folder: Path) -> _Drawn:
    entry = FIGURES[name]
    try:
        figure = entry.draw(entry.data(results, scores))
    except MissingRuns as error:
        return _Drawn(name, (), error)
    stem = f"figure_{name}" if name.isdigit() else name
    return _Drawn(name, tuple(style.save(figure, folder / stem)), None)
