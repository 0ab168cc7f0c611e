"""``nasbench report``: from a results folder to tables, figures and one HTML page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nasbench import __version__
from nasbench.analysis.experiments.definitions import EXPERIMENTS, MissingRuns, experiment_of
from nasbench.analysis.experiments.missing import Inventory, Shortfall, beginning, shortfall, take_inventory
from nasbench.analysis.figures import style
from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.analysis.report.page import PageFigure, write_page
from nasbench.analysis.report.sections import Ranking, sections, simulated_sections
from nasbench.analysis.report.tables import make_tables, write_tables
from nasbench.analysis.scoring.quantiles import Quantiles, fit_quantiles, load_quantiles
from nasbench.analysis.scoring.scores import Scores, score
from nasbench.analysis.scoring.tracks import EVERY_TRACK
from nasbench.errors import UnknownName, UserError

PAGE = "report.html"
_REFITTED = "all scenarios: errors and costs are normalised by the runs of this report, not by the frozen quantiles"
_OWN_SCALE = (
    "tables: test hypervolumes in scenarios without frozen quantiles differ from those of the rankings, which are "
    "normalised by the runs that they count"
)
_UNUSED = ("key", "weights", "reason", "latency_ms", "n_duplicates", "epochs")


@dataclass(frozen=True)
class ReportOutcome:
    """The warnings and files of a report.

    Attributes:
        warnings: about records left out, failed runs, quantiles that are not the frozen ones, test hypervolumes in the
            tables that are not those of the rankings, and figures that lack runs, unless all runs are on users' own
            tasks or on language modelling.
        files: all files written; the page, if there is one, is the last.
        exit_code: 1 if a record is damaged, else 0.
    """

    warnings: tuple[str, ...]
    files: tuple[Path, ...]
    exit_code: int


def report(
    results: Path | Sequence[Path], out: Path, figures: tuple[str, ...] | None = None, refit: bool = False
) -> ReportOutcome:
    """Write the report of a results folder.

    Args:
        results: a folder of runs, or several; they may contain no run.
        out: the folder for ``report.html``, ``tables/`` and ``figures/``; created if missing.
        figures: names in :data:`nasbench.analysis.figures.catalogue.FIGURES`. Only these figures are made, without page
            and tables. None for the whole report.
        refit: normalise by all runs of the folder, as the paper does, instead of by the frozen quantiles.

    Raises:
        UserError: if there is no such folder, or if none of the named figures has anything to show.
        UnknownName: if a named figure does not exist.
    """
    for name in figures or ():
        if name not in FIGURES:
            raise UnknownName("figure", name, FIGURES)
    found = _without_unused(read_results(results))
    quantiles = fit_quantiles(found.finished().evaluations) if refit else load_quantiles()
    scores = score(found, quantiles)
    if refit:
        scores = dataclasses.replace(scores, warnings=(_REFITTED, *scores.warnings))
    inventory = take_inventory(scores.runs)
    drawn = [_draw(name, found, scores, inventory, out / "figures") for name in figures or FIGURES]
    if figures is None:
        # Someone with runs on tasks of their own, or on language modelling, has not asked for the paper's figures.
        elsewhere = (scores.runs["track"] == "user").to_numpy() | of_language_models(scores.runs)
        asks = not len(elsewhere) or not elsewhere.all()
        drawn = [made for made in drawn if made.files or (asks and not FIGURES[made.name].extra)]
    files = [path for made in drawn for path in made.files]
    if figures and not files:
        raise UserError(drawn[0].warning + _left_out(found))
    warnings = [*found.warnings, *scores.warnings]
    if figures is None:
        official = sections(found, quantiles)
        if _has_two_scales(scores, official):
            scores = dataclasses.replace(scores, warnings=(*scores.warnings, _OWN_SCALE))
            warnings.append(_OWN_SCALE)
        boards = official + simulated_sections(found, quantiles, EVERY_TRACK) + _with_unofficial(found, quantiles)
        tables = make_tables(found, scores, boards) | {"warnings": _warnings_table(found, scores, drawn)}
        files += write_tables(tables, out / "tables")
        page = out / PAGE
        shown = [made.on_page() for made in drawn]
        write_page(page, found, scores, boards, len(official), shown, warnings, __version__)
        files.append(page)
    warnings += [made.warning for made in drawn if made.warning]
    return ReportOutcome(tuple(warnings), tuple(files), found.exit_code)


def _left_out(results: Results) -> str:
    """The first damaged record, in brackets; empty without one. A folder may have nothing to show because of it."""
    damaged = [str(finding) for finding in results.findings if finding.damage]
    if not damaged:
        return ""
    return f" (left out: {damaged[0]}{f'; and {len(damaged) - 1} more' if len(damaged) > 1 else ''})"


def _without_unused(results: Results) -> Results:
    """Drop the columns of the evaluations that no report uses: with millions of rows, a third of the memory."""
    names = results.evaluations.columns
    unused = [name for name in names if name in _UNUSED or name.startswith(("metric.", "test_metric."))]
    return dataclasses.replace(results, evaluations=results.evaluations.drop(columns=unused))


def _has_two_scales(scores: Scores, official: list[Ranking]) -> bool:
    """Whether a ranking leaves out runs of a scenario that is normalised by the runs at hand."""
    frozen = [] if scores.quantiles is None else list(scores.quantiles.scenarios)
    runs = scores.runs[~scores.runs["scenario"].isin(frozen)]
    is_mixed = runs.groupby("scenario", observed=True)["official"].nunique().gt(1).any()
    return bool(is_mixed or (runs["official"].any() and any(board.n_outside for board in official)))


def _warnings_table(results: Results, scores: Scores, drawn: list[_Drawn]) -> pd.DataFrame:
    """All warnings, each with its place: a record, a scenario or a figure."""
    others = [*scores.warnings, *(made.warning for made in drawn if made.warning)]
    rows = [(finding.place, finding.message, finding.damage) for finding in results.findings]
    rows += [(place, message, False) for place, _, message in (warning.partition(": ") for warning in others)]
    return pd.DataFrame(rows, columns=["place", "message", "damage"])


def _with_unofficial(results: Results, quantiles: Quantiles) -> list[Ranking]:
    """The sections that have unofficial runs, with these runs; also for users' own tasks."""
    runs = results.runs
    places = pd.MultiIndex.from_frame(runs[["track", "device_class"]])
    concerned = places.isin(places[~runs["official"].astype(bool) & (runs["status"] != "running")])
    everything = dataclasses.replace(results, runs=runs.assign(official=True)).select(concerned)
    return [
        dataclasses.replace(board, title=f"{board.title}, with unofficial runs")
        for board in sections(everything, quantiles, EVERY_TRACK)
    ]


@dataclass(frozen=True)
class _Drawn:
    name: str
    files: tuple[Path, ...]
    lacks: Shortfall | None

    @property
    def warning(self) -> str:
        """One line about the runs that the figure lacks; empty if it lacks none."""
        heading = FIGURES[self.name].heading
        name = heading[0].lower() + heading[1:]
        if self.lacks is None:
            return "" if self.files else f"{name}: the runs contain nothing to show"
        return f"{name}: {self.lacks}"

    def on_page(self) -> PageFigure:
        entry = FIGURES[self.name]
        # Prefer SVG, unless so many lines make it larger than the PNG.
        pictures = [path for path in self.files if path.suffix != ".pdf"]
        image = min(pictures, key=lambda path: path.stat().st_size, default=None)
        return PageFigure(self.name, entry.heading, entry.title, image, self.lacks)


def _draw(name: str, results: Results, scores: Scores, inventory: Inventory, folder: Path) -> _Drawn:
    entry = FIGURES[name]
    own = experiment = experiment_of(name)
    files: tuple[Path, ...] = ()
    missing: MissingRuns | None = None
    try:
        figure = entry.draw(entry.data(results, scores))
        files = tuple(style.save(figure, folder / (f"figure_{name}" if name[0].isdigit() else name)))
    except MissingRuns as error:
        missing = error
        experiment = None if error.experiment is None else EXPERIMENTS[error.experiment]
    lacks, places = None, inventory.where(entry.shows)
    if files and entry.extra:
        return _Drawn(name, files, None)
    if experiment is not None and places:
        lacks = shortfall(experiment, inventory, places)
    elif experiment is not None and not files:
        lacks = beginning(experiment, entry.shows)
    if own is None and missing is not None:
        # No experiment is that of the figure, so its number of missing runs says nothing about the figure.
        lacks = Shortfall(missing.has, missing.command if lacks is None else lacks.command, "makes such runs")
    return _Drawn(name, files, lacks)
