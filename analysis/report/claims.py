"""The paper's claims, each tested on the results (``nasbench claims``).

A claim is an inequality between two algorithms, spaces or training strategies. It is measured as a mean difference
over the blocks (scenario and seed) that both have. The difference has two 95 % intervals: on these tasks, where only
seeds are random, and on tasks like these, where the tasks are a sample too. A general claim is about tasks like these,
and is judged by the second interval; fewer than three tasks leave it undecided. A claim about one named task is judged
by the first interval. "As good as" allows for a margin. Each track and device class is judged separately. Intervals are
not corrected for the number of claims: each claim is judged as if it were the only one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tabulate import tabulate

from nasbench.analysis.experiments.definitions import BEST_STRATEGY
from nasbench.analysis.experiments.selection import five_methods, option, random_samples, subset, usual
from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.report.formatting import bounds, number, printable
from nasbench.analysis.scoring.comparison import compare
from nasbench.analysis.scoring.intervals import MIN_TASKS
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import Blocks, Scores, block_table, horizon_s, score
from nasbench.analysis.scoring.tracks import DEVICE_CLASSES, EVERY_TRACK
from nasbench.arrays import BoolArray, FloatArray
from nasbench.networks.space import PAPER_SPACES

Verdict = Literal["confirmed", "refuted", "undecided", "not run"]
Relation = Literal["better than", "at least as good as", "as good as", "not better than"]

HYPERVOLUME_MARGIN = 0.05
"""Hypervolumes that differ by less count as equally good; the largest possible hypervolume is 4."""
RELATIVE_MARGIN = 0.05
"""Fraction of the full network's test metric: the 95 % line of the paper's figure 8."""
EARLY = 0.25
"""Early means after this fraction of the search time, which is the rest of the budget once all methods search."""


@dataclass(frozen=True)
class Claim:
    """One inequality: ``a`` is ``relation`` ``b``.

    Attributes:
        text: the claim, as printed.
        measure: the quantity that is compared.
        experiment: the experiment that makes its runs; empty if the suite has none.
        task: the one task that the claim is about; None for a claim about tasks in general.
    """

    text: str
    relation: Relation
    measure: Literal["hypervolume", "relative test metric"]
    experiment: str
    task: str | None = None


@dataclass(frozen=True)
class ClaimResult:
    """A claim with its verdict.

    Attributes:
        difference: mean of a - b; NaN if there are no runs.
        low: lower end of the 95 % interval on these tasks; NaN where there is none.
        high: its upper end.
        task_low: lower end of the 95 % interval on tasks like these; NaN where there is none.
        task_high: its upper end.
        n: number of blocks compared.
        n_tasks: number of tasks that the blocks come from.
    """

    claim: Claim
    verdict: Verdict
    difference: float
    low: float
    high: float
    task_low: float
    task_high: float
    n: int
    n_tasks: int


def judge(relation: Relation, low: float, high: float, margin: float) -> Verdict:
    """The verdict on ``a relation b`` from the interval of a - b; "undecided" if neither condition holds.

    =====================  ===================  ===================
    relation               confirmed            refuted
    =====================  ===================  ===================
    better than            low > 0              high < 0
    at least as good as    low > -margin        high < -margin
    as good as             within the margins   outside the margins
    not better than        high < margin        low > margin
    =====================  ===================  ===================
    """
    if np.isnan(low) or np.isnan(high):
        return "undecided"
    confirmed, refuted = {
        "better than": (low > 0, high < 0),
        "at least as good as": (low > -margin, high < -margin),
        "as good as": (low > -margin and high < margin, low > margin or high < -margin),
        "not better than": (high < margin, low > margin),
    }[relation]
    return "confirmed" if confirmed else "refuted" if refuted else "undecided"


def claims(results: Path | Sequence[Path], quantiles: Quantiles | None = None) -> str:
    """The text of ``nasbench claims``: one table for each track and device class with runs."""
    found = read_results(results)
    finished = found.finished()
    groups = [
        (
            f"{track_title}, {device_title}",
            (finished.runs["track"] == track) & (finished.runs["device_class"] == device),
        )
        for track, track_title in EVERY_TRACK.items()
        for device, device_title in DEVICE_CLASSES.items()
    ]
    groups = [(title, keep) for title, keep in groups if keep.any()]
    parts = []
    for title, keep in groups:
        parts.append(_table(title, check_claims(finished.select(keep), quantiles)))
    if not groups:
        parts.append(_table("No runs", check_claims(finished, quantiles)))
    parts.append(
        f"a is as good as b: the interval of a - b is within {HYPERVOLUME_MARGIN:g} hypervolume (of at most 4) or "
        f"{RELATIVE_MARGIN:.0%} of the full network's test metric.\n"
        "Two intervals: on these tasks (other seeds), and on tasks like these (other tasks). A claim about tasks in\n"
        f"general is judged by the second one, and is undecided for fewer than {MIN_TASKS} tasks."
    )
    if found.findings:
        parts.append("Warnings:\n" + "\n".join(f"  {printable(text)}" for text in found.warnings))
    return "\n\n".join(parts) + "\n"


def check_claims(results: Results, quantiles: Quantiles | None = None) -> list[ClaimResult]:
    """All claims with their verdicts, in the order of the paper.

    Args:
        results: runs of one track and device class; :func:`claims` separates them.
        quantiles: the normaliser; None for the frozen quantiles of the suite.
    """
    scores = score(results, quantiles)
    found = [
        *_spaces(scores),
        *_strategies(scores),
        *_standard(scores),
        *_weight_sharing(scores, results),
        *_against_pruning(results),
    ]
    quantisation = Claim(
        "quantisation saves memory but not latency (figure 13)", "better than", "relative test metric", ""
    )
    return [*found, _not_run(quantisation)]


def _spaces(scores: Scores) -> Iterator[ClaimResult]:
    chosen = subset(scores, random_samples(scores.runs))
    chosen = subset(chosen, _is(option(chosen.runs, "strategy"), BEST_STRATEGY))
    blocks = block_table(chosen, by="space")
    on_cola = _of_task(blocks, "cola")
    for other in PAPER_SPACES:
        if other != "small":
            claim = Claim(f"SMALL beats {other.upper()}, except on CoLA", "better than", "hypervolume", "fig5")
            yield _compared(claim, blocks, "small", other, ~on_cola)
    for other in PAPER_SPACES:
        if other != "small":
            text = f"on CoLA SMALL does not beat {other.upper()}"
            claim = Claim(text, "not better than", "hypervolume", "fig5", task="cola")
            yield _compared(claim, blocks, "small", other, on_cola)


def _strategies(scores: Scores) -> Iterator[ClaimResult]:
    chosen = subset(scores, random_samples(scores.runs) & (scores.runs["space"] == "small").to_numpy(dtype=np.bool_))
    runs = chosen.runs.assign(strategy=option(chosen.runs, "strategy"))
    blocks = block_table(dataclasses.replace(chosen, runs=runs), by="strategy")
    pairs: tuple[tuple[str, Relation, str], ...] = (
        ("full", "at least as good as", "sandwich"),
        ("full", "at least as good as", "kd"),
        ("sandwich", "as good as", "kd"),
        ("sandwich", "better than", "random-linear"),
        ("kd", "better than", "random-linear"),
        ("random-linear", "better than", "random"),
        ("random-linear", "better than", "standard"),
    )
    for a, relation, b in pairs:
        claim = Claim(f"training: {a} is {relation} {b}", relation, "hypervolume", "fig7")
        yield _compared(claim, blocks, a, b)


def _standard(scores: Scores) -> Iterator[ClaimResult]:
    blocks = _searchers(scores, "s-nas")
    on_rte = _of_task(blocks, "rte")
    for other in ("local", "morea", "ehvi"):
        text = f"standard NAS: random search is at least as good as {other}"
        claim = Claim(text, "at least as good as", "hypervolume", "fig6")
        yield _compared(claim, blocks, "s-nas/random", f"s-nas/{other}")
    claim = Claim("standard NAS: moasha beats random search on average", "better than", "hypervolume", "fig6")
    yield _compared(claim, blocks, "s-nas/moasha", "s-nas/random")
    text = "standard NAS: moasha does not beat random search on RTE"
    claim = Claim(text, "not better than", "hypervolume", "fig6", task="rte")
    yield _compared(claim, blocks, "s-nas/moasha", "s-nas/random", on_rte)


def _weight_sharing(scores: Scores, results: Results) -> Iterator[ClaimResult]:
    blocks = _searchers(scores, "ws-nas")
    early = _at_early_time(blocks, scores, results)
    for other in ("random", "local", "morea"):
        claim = Claim(f"weight sharing: ehvi is ahead of {other} early on", "better than", "hypervolume", "fig6")
        yield _compared(claim, blocks, "ws-nas/ehvi", f"ws-nas/{other}", values=early)
    text = "weight sharing: local search has caught up with ehvi at the end"
    claim = Claim(text, "at least as good as", "hypervolume", "fig6")
    yield _compared(claim, blocks, "ws-nas/local", "ws-nas/ehvi")


def _against_pruning(results: Results) -> Iterator[ClaimResult]:
    chosen = results.select(five_methods(results.runs))
    picked = relative_performance(chosen).dropna(subset="relative")
    table = picked.pivot_table(index=["scenario", "seed", "threshold"], columns="algorithm", values="relative")
    for other in ("head-pruning", "rfp"):
        text = f"NAS beats {other} where it prunes most"
        yield _pruned(Claim(text, "better than", "relative test metric", "fig8"), table, "ws-nas/ehvi", other, "first")
    text = "layer dropping is competitive with NAS"
    claim = Claim(text, "at least as good as", "relative test metric", "fig8")
    yield _pruned(claim, table, "layer-dropping", "ws-nas/ehvi", "mean")


def _searchers(scores: Scores, method: str) -> Blocks:
    """Blocks of one method's algorithms in SMALL, from runs with default options and the usual budget."""
    keep = _usual_in_small(scores.runs) & (scores.runs["method"] == method).to_numpy(dtype=np.bool_)
    return block_table(subset(scores, keep), by="algorithm")


def _usual_in_small(runs: pd.DataFrame) -> BoolArray:
    return usual(runs) & (runs["space"] == "small").to_numpy(dtype=np.bool_)


def _at_early_time(blocks: Blocks, scores: Scores, results: Results) -> FloatArray:
    """Hypervolumes early in the search, ``(n_methods, n_blocks)``.

    The search of a block begins when each of its methods has evaluated a network. Before that, some still train.
    """
    evaluations = results.finished().evaluations
    first = evaluations.groupby("run_row")["elapsed_s"].min().reindex(range(len(scores.runs))).to_numpy()
    runs = scores.runs.assign(begin=first / horizon_s(scores.runs))
    runs = runs[runs["algorithm"].isin(blocks.names) & _usual_in_small(runs)]
    latest = runs.groupby(["scenario", "seed"])["begin"].max()
    keys = pd.MultiIndex.from_arrays([blocks.scenarios, blocks.seeds])
    begin = latest.reindex(keys).to_numpy(dtype=np.float64)
    at = begin + EARLY * (1.0 - begin)
    step = np.searchsorted(scores.grid, np.nan_to_num(at, nan=1.0)).clip(max=len(scores.grid) - 1)
    return np.asarray(blocks.hypervolume[:, np.arange(len(step)), step], dtype=np.float64)


def _compared(
    claim: Claim,
    blocks: Blocks,
    a: str,
    b: str,
    where: BoolArray | None = None,
    values: FloatArray | None = None,
) -> ClaimResult:
    """The result of a claim about two methods of a table.

    Args:
        where: ``(n_blocks,)``, mask of the blocks to compare; None for all.
        values: ``(n_methods, n_blocks)``, the hypervolumes to compare; None for the final hypervolumes.
    """
    if a not in blocks.names or b not in blocks.names:
        return _not_run(claim)
    table = blocks.final if values is None else values
    chosen = np.ones(len(blocks.scenarios), dtype=np.bool_) if where is None else where
    first, second = (table[blocks.names.index(name), chosen] for name in (a, b))
    return _judged(claim, first, second, blocks.scenarios[chosen].astype(str), HYPERVOLUME_MARGIN)


def _pruned(claim: Claim, table: pd.DataFrame, a: str, b: str, aggregate: Literal["first", "mean"]) -> ClaimResult:
    """The result of a claim about relative test metrics, at the thresholds that both algorithms reach in a block.

    Args:
        table: relative test metrics; index ``scenario, seed, threshold``, one column for each algorithm.
        aggregate: ``first`` compares at the lowest threshold, ``mean`` compares means over the thresholds.
    """
    if a not in table or b not in table:
        return _not_run(claim)
    both = table[[a, b]].dropna().sort_index().groupby(level=["scenario", "seed"]).agg(aggregate)
    scenarios = both.index.get_level_values("scenario").to_numpy(dtype=str)
    return _judged(claim, both[a].to_numpy(), both[b].to_numpy(), scenarios, RELATIVE_MARGIN)


def _judged(
    claim: Claim,
    first: FloatArray,
    second: FloatArray,
    scenarios: np.ndarray[tuple[int], np.dtype[np.str_]],
    margin: float,
) -> ClaimResult:
    result = compare(first, second, scenarios)
    if result.n == 0:
        return _not_run(claim)
    low, high = (result.task_low, result.task_high) if claim.task is None else (result.low, result.high)
    return ClaimResult(
        claim=claim,
        verdict=judge(claim.relation, low, high, margin),
        difference=result.difference,
        low=result.low,
        high=result.high,
        task_low=result.task_low,
        task_high=result.task_high,
        n=result.n,
        n_tasks=result.n_tasks,
    )


def _not_run(claim: Claim) -> ClaimResult:
    return ClaimResult(claim, "not run", np.nan, np.nan, np.nan, np.nan, np.nan, 0, 0)


def _is(values: Sequence[object], wanted: object) -> BoolArray:
    return np.array([value == wanted for value in values], dtype=np.bool_)


def _of_task(blocks: Blocks, task: str) -> BoolArray:
    return np.array([str(scenario).split("/")[0] == task for scenario in blocks.scenarios], dtype=np.bool_)


def _table(title: str, results: Sequence[ClaimResult]) -> str:
    rows = []
    for result in results:
        experiment = result.claim.experiment
        needed = f"needs: nasbench experiment {experiment}" if experiment else "not in the suite"
        rows.append(
            {
                "claim": result.claim.text,
                "verdict": result.verdict,
                "difference": number(result.difference, 3),
                "on these tasks": bounds(result.low, result.high, 3),
                "on tasks like these": bounds(result.task_low, result.task_high, 3),
                "measure": result.claim.measure if result.n else needed,
                "blocks": number(result.n, 0),
                "tasks": number(result.n_tasks, 0),
            }
        )
    return f"{title}\n\n" + tabulate(rows, headers="keys", tablefmt="simple", disable_numparse=True)
