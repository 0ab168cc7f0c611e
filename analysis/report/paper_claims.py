"""The paper's claims, and those about decoders, each as a comparison of runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.definitions import BEST_STRATEGY, TASKS
from nasbench.analysis.experiments.selection import (
    compared_entries,
    five_methods,
    random_samples,
    subset,
    trainings,
    usual,
)
from nasbench.analysis.experiments.windows import in_window
from nasbench.analysis.reading.quantized import variants
from nasbench.analysis.reading.results import Results
from nasbench.analysis.reading.scenarios import of_language_models
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.relative_performance import relative_performance
from nasbench.analysis.scoring.scores import Blocks, Scores, block_table, score
from nasbench.analysis.scoring.verdicts import (
    EARLY,
    RELATIVE_MARGIN,
    Claim,
    ClaimResult,
    Relation,
    compared,
    contrasted,
    judged,
    not_run,
    pruned,
)
from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.networks.space import PAPER_SPACES

TEXT_TASK = "wikitext2"
"""The one task of language modelling that a section of the leaderboard declares."""
RIVALS = {"shortgpt": "ShortGPT", "wanda-sp": "Wanda-sp", "flap": "FLAP"}
"""Methods that prune a decoder without training, with their printed names."""
_SHARING = ("ws-nas", "ws-nas-ordered")
_SWEEP = (
    f"nasbench sweep --method {_SHARING[0]},{','.join(RIVALS)} --task {TEXT_TASK} --seed 0-2 && "
    f"nasbench sweep --method {_SHARING[1]} --task {TEXT_TASK} --seed 0-2 --set strategy=random"
)
_IN_SMALL = r"heads=\d{1,9}, units=\d{1,9}, layers=\d{1,9}"
"""A configuration of SMALL as text."""


def check_claims(results: Results, quantiles: Quantiles | None = None) -> list[ClaimResult]:
    """All claims with their verdicts, in the order of the paper, then those about decoders.

    The paper has no language modelling, so runs on it decide none of its claims but those about number formats. Claims
    about decoders are left out where no language model has run, and those of the paper where nothing else has.

    Args:
        results: runs of one track and device class; :func:`claims` separates them.
        quantiles: the normaliser; None for the frozen quantiles of the suite.
    """
    on_text = of_language_models(results.runs)
    quantised = list(_quantisation(results))
    if len(on_text) and on_text.all():
        measured = [result for result in quantised if result.verdict != "not run"]
        return [*_decoders(score(results, quantiles)), *measured]
    about_decoders: list[ClaimResult] = []
    if on_text.any() or not len(on_text):
        about_decoders += _decoders(score(results.select(on_text), quantiles))
        results = results.select(~on_text)
    scores = score(results, quantiles)
    return [
        *_spaces(scores),
        *_strategies(scores),
        *_standard(scores),
        *_weight_sharing(scores, results),
        *_against_pruning(scores, results),
        *about_decoders,
        *quantised,
    ]


def unofficial_among(runs: pd.DataFrame) -> str:
    """A sentence on the unofficial runs that claims count, such as those with other seeds; empty if there is none.

    It leaves out runs with a limit on their evaluations: all of them are unofficial, and figures 5 and 7 need them.
    """
    n = int((~runs["official"].to_numpy(dtype=np.bool_) & (usual(runs) | compared_entries(runs))).sum())
    return f"Unofficial runs that count, beside those with a limit on their evaluations: {n}." if n else ""


def _quantisation(results: Results) -> Iterator[ClaimResult]:
    """The unpruned network in each number format against fp32, for the runs that ``nasbench quantize`` has measured.

    Its bytes and times do not depend on the task, so the interval on these tasks judges. Bytes are the same on every
    device. Times are not, and the device that measured them need not be the device of the run: a claim names it. A
    device that has not timed both formats says nothing.
    """
    table = variants(results.finished().runs)
    full = table[table["is_full"] & table["latency"].notna()]
    if "fp32" not in full["scheme"].to_numpy():
        text = "quantisation saves memory but not latency (figure 13)"
        yield not_run(Claim(text, "better than", "relative test metric", ""))
        return
    for scheme in sorted(set(full["scheme"]) - {"fp32"}):
        claim = Claim(
            f"{scheme} needs less memory than fp32 (figure 13)", "better than", "bytes", "", depends_on_task=False
        )
        yield _beside_fp32(claim, full, "megabytes", scheme)
        for device, measured in full.groupby("device"):
            if not {scheme, "fp32"} <= set(measured["scheme"]):
                continue
            text = f"{scheme} is not faster than fp32 on {device} (figure 13)"
            claim = Claim(text, "not better than", "latency", "", depends_on_task=False)
            yield _beside_fp32(claim, measured, "latency", scheme)


def _beside_fp32(claim: Claim, full: pd.DataFrame, column: str, scheme: str) -> ClaimResult:
    """Judge a column of the unpruned network; runs of one scenario and seed are one block, their mean."""
    means = full.pivot_table(column, ["scenario", "seed"], "scheme")
    own, plain = ((-means[each] / means["fp32"]).to_numpy(dtype=np.float64) for each in (scheme, "fp32"))
    scenarios = means.index.get_level_values("scenario").to_numpy(dtype=str)
    return judged(claim, own, plain, scenarios, RELATIVE_MARGIN)


def _spaces(scores: Scores) -> Iterator[ClaimResult]:
    chosen = subset(scores, random_samples(scores.runs))
    chosen = subset(chosen, _is(trainings(chosen.runs), BEST_STRATEGY))
    blocks = block_table(chosen, by="space")
    on_cola = _of_task(blocks, "cola")
    for other in PAPER_SPACES:
        if other != "small":
            claim = Claim(f"SMALL beats {other.upper()}, except on CoLA", "better than", "hypervolume", "fig5")
            yield compared(claim, blocks, "small", other, ~on_cola)
    for other in PAPER_SPACES:
        if other != "small":
            text = f"on CoLA SMALL does not beat {other.upper()}"
            claim = Claim(text, "not better than", "hypervolume", "fig5", task="cola")
            yield compared(claim, blocks, "small", other, on_cola)
    yield from _layer(blocks)


def _layer(blocks: Blocks) -> Iterator[ClaimResult]:
    for other in ("medium", "large"):
        claim = Claim(f"LAYER often beats {other.upper()}", "better than", "hypervolume", "fig5")
        yield compared(claim, blocks, "layer", other)


def _strategies(scores: Scores) -> Iterator[ClaimResult]:
    chosen = subset(scores, random_samples(scores.runs) & (scores.runs["space"] == "small").to_numpy(dtype=np.bool_))
    runs = chosen.runs.assign(strategy=pd.Series(trainings(chosen.runs), dtype=object))
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
        yield compared(claim, blocks, a, b)
    text = "training: on CoLA standard is at least as good as full"
    claim = Claim(text, "at least as good as", "hypervolume", "fig7", task="cola")
    yield compared(claim, blocks, "standard", "full", _of_task(blocks, "cola"))


def _standard(scores: Scores) -> Iterator[ClaimResult]:
    blocks = _searchers(scores, "s-nas")
    on_rte = _of_task(blocks, "rte")
    for other in ("local", "morea", "ehvi"):
        text = f"standard NAS: random search is at least as good as {other}"
        claim = Claim(text, "at least as good as", "hypervolume", "fig6")
        yield compared(claim, blocks, "s-nas/random", f"s-nas/{other}")
    claim = Claim("standard NAS: moasha beats random search on average", "better than", "hypervolume", "fig6")
    yield compared(claim, blocks, "s-nas/moasha", "s-nas/random")
    text = "standard NAS: moasha does not beat random search on RTE"
    claim = Claim(text, "not better than", "hypervolume", "fig6", task="rte")
    yield compared(claim, blocks, "s-nas/moasha", "s-nas/random", on_rte)


def _weight_sharing(scores: Scores, results: Results) -> Iterator[ClaimResult]:
    blocks = _searchers(scores, "ws-nas")
    window = _searchers(in_window(results, scores), "ws-nas")
    early = window.hypervolume[:, :, int(np.searchsorted(scores.grid, EARLY))]
    for other in ("random", "local", "morea"):
        text = f"weight sharing: ehvi is ahead of {other} early in the paper's window"
        claim = Claim(text, "better than", "hypervolume", "fig6")
        yield compared(claim, window, "ws-nas/ehvi", f"ws-nas/{other}", values=early)
    # Local search is to overtake random search later, so the two are compared early.
    for other, when, values in (("local", "early in", early), ("morea", "at the end of", None)):
        text = f"weight sharing: random search is at least as good as {other} {when} the paper's window"
        claim = Claim(text, "at least as good as", "hypervolume", "fig6")
        yield compared(claim, window, "ws-nas/random", f"ws-nas/{other}", values=values)
    for when, shown in (("the paper's window", window), ("the budget", blocks)):
        text = f"weight sharing: local search overtakes random search by the end of {when}"
        claim = Claim(text, "better than", "hypervolume", "fig6")
        yield compared(claim, shown, "ws-nas/local", "ws-nas/random")
        text = f"weight sharing: local search has caught up with ehvi at the end of {when}"
        claim = Claim(text, "at least as good as", "hypervolume", "fig6")
        yield compared(claim, shown, "ws-nas/local", "ws-nas/ehvi")
    yield _order(results)


def _order(results: Results) -> ClaimResult:
    """Less noise with shared weights, told from networks that both methods have evaluated.

    Random search proposes the same networks to both methods. Of two networks, one of which is part of the other, the
    larger one should have the lower error. Noise puts pairs out of order. The share of pairs in order needs no model of
    the errors, and no second evaluation of a network.
    """
    claim = Claim(
        "errors are less noisy with shared weights than with networks fine-tuned alone",
        "better than",
        "share of pairs in order",
        "fig6",
    )
    finished = results.finished()
    runs = finished.runs
    keep = (
        _usual_in_small(runs) & ((runs["searcher"] == "random") & runs["method"].isin(["s-nas", "ws-nas"])).to_numpy()
    )
    evaluations = finished.evaluations
    evaluations = evaluations[evaluations["error"].notna() & evaluations["config"].str.fullmatch(_IN_SMALL)]
    evaluations = evaluations.drop_duplicates(["run_row", "config"])  # a method may report a network twice
    errors = {row: part.set_index("config")["error"] for row, part in evaluations.groupby("run_row")}
    shared, alone, scenarios = [], [], []
    for (scenario, _), block in runs[keep].groupby(["scenario", "seed"], observed=True):
        rows = dict(zip(block["method"], block.index, strict=True))
        if not {"s-nas", "ws-nas"} <= set(rows) or not all(row in errors for row in rows.values()):
            continue
        both = pd.concat([errors[rows["ws-nas"]], errors[rows["s-nas"]]], axis=1, join="inner").to_numpy()
        common = errors[rows["ws-nas"]].index.intersection(errors[rows["s-nas"]].index)
        configs = np.array([[int(part.split("=")[1]) for part in text.split(", ")] for text in common])
        if len(common) > 1:
            shared.append(share_in_order(configs, both[:, 0]))
            alone.append(share_in_order(configs, both[:, 1]))
            scenarios.append(str(scenario))
    first, second = np.array(shared, dtype=np.float64), np.array(alone, dtype=np.float64)
    return judged(claim, first, second, np.array(scenarios, dtype=str), 0.0)


def share_in_order(configs: IntArray, errors: FloatArray) -> float:
    """Of the pairs of SMALL networks of which one is part of the other, the share whose larger one has the lower error.

    Equal errors count half: many networks give the same constant answer, and their order says nothing.

    Args:
        configs: ``(n, 3)``, heads, units and layers.
        errors: ``(n,)``.

    Returns:
        Between 0 and 1; NaN without such pairs. Configurations that are the same network make no pair.
    """
    is_part = (configs[:, None] <= configs).all(axis=2) & (configs[:, None] < configs).any(axis=2)
    is_empty = (configs[:, 2] == 0) | (configs[:, :2] == 0).all(axis=1)
    is_part &= ~(is_empty[:, None] & is_empty)
    if not is_part.any():
        return float("nan")
    return float(((errors[:, None] > errors) + 0.5 * (errors[:, None] == errors))[is_part].mean())


def _against_pruning(scores: Scores, results: Results) -> Iterator[ClaimResult]:
    chosen = results.select(five_methods(results.runs))
    picked = relative_performance(chosen).dropna(subset="relative")
    table = picked.pivot_table(index=["scenario", "seed", "threshold"], columns="algorithm", values="relative")
    for nas, name in (("ws-nas/ehvi", "weight-sharing"), ("s-nas/random", "standard")):
        for other in ("head-pruning", "rfp"):
            claim = Claim(
                f"{name} NAS beats {other} where it prunes most", "better than", "relative test metric", "fig8"
            )
            yield pruned(claim, table, nas, other, "first")
    text = "layer dropping is competitive with NAS"
    claim = Claim(text, "at least as good as", "relative test metric", "fig8")
    yield pruned(claim, table, "layer-dropping", "ws-nas/ehvi", "mean")
    five = subset(scores, five_methods(scores.runs))
    text = "weight-sharing NAS beats standard NAS on the same budget"
    claim = Claim(text, "better than", "test hypervolume", "fig8")
    tested = block_table(five, by="algorithm", values=five.test[:, None])
    yield compared(claim, tested, "ws-nas/ehvi", "s-nas/random")
    yield _on_larger_data(table)


def _on_larger_data(table: pd.DataFrame) -> ClaimResult:
    """NAS gains on HP and RFP, averaged over the thresholds that all reach, on the larger against the smaller tasks."""
    claim = Claim(
        "NAS gains more on head-pruning and rfp on the four larger data sets than on the smaller ones",
        "better than",
        "relative test metric",
        "fig8",
        contrasts=TASKS,
    )
    names = ["ws-nas/ehvi", "head-pruning", "rfp"]
    if not set(names) <= set(table):
        return not_run(claim)
    complete = table[names].dropna()
    gain = (complete[names[0]] - complete[names[1:]].mean(axis=1)).groupby(level=["scenario", "seed"]).mean()
    scenarios = gain.index.get_level_values("scenario").to_numpy(dtype=str)
    tasks = np.array([scenario.partition("/")[0] for scenario in scenarios], dtype=str)
    known, is_larger = np.isin(tasks, TASKS), np.isin(tasks, TASKS[len(TASKS) // 2 :])
    return contrasted(
        claim, gain.to_numpy(dtype=np.float64)[known], scenarios[known], is_larger[known], RELATIVE_MARGIN
    )


def _searchers(scores: Scores, method: str) -> Blocks:
    """Blocks of one method's algorithms in SMALL, from runs with default options and the usual budget."""
    keep = _usual_in_small(scores.runs) & (scores.runs["method"] == method).to_numpy(dtype=np.bool_)
    return block_table(subset(scores, keep), by="algorithm")


def _usual_in_small(runs: pd.DataFrame) -> BoolArray:
    return usual(runs) & (runs["space"] == "small").to_numpy(dtype=np.bool_)


def _is(values: Sequence[object], wanted: object) -> BoolArray:
    return np.array([value == wanted for value in values], dtype=np.bool_)


def _of_task(blocks: Blocks, task: str) -> BoolArray:
    return np.array([str(scenario).split("/")[0] == task for scenario in blocks.scenarios], dtype=np.bool_)


def _decoders(scores: Scores) -> Iterator[ClaimResult]:
    """About decoders, not in the paper: weight-sharing NAS has a larger test hypervolume than each rival on its front.

    In each block, the front is that of ``ws-nas`` or ``ws-nas-ordered``, whichever has the larger *validation*
    hypervolume. Nothing is chosen by test errors, so the comparison is not optimistic, but the choice takes two runs
    where a rival takes one.

    Args:
        scores: runs on language modelling, of one track and device class.
    """
    runs = scores.runs
    compares = subset(scores, (runs["task"] == TEXT_TASK).to_numpy(dtype=np.bool_) & compared_entries(runs))
    runs = compares.runs
    is_sharing = runs["method"].isin(_SHARING)
    best = pd.Series(compares.final)[is_sharing].groupby([runs["scenario"], runs["seed"]]).idxmax()
    chosen = subset(compares, (runs["method"].isin(RIVALS) | runs.index.isin(best)).to_numpy(dtype=np.bool_))
    side = chosen.runs["method"].mask(chosen.runs["method"].isin(_SHARING), "weight sharing")
    sides = dataclasses.replace(chosen, runs=chosen.runs.assign(side=side))
    blocks = block_table(sides, by="side", values=sides.test[:, None])
    for rival, name in RIVALS.items():
        text = f"on WikiText-2 the front of ws-nas or ws-nas-ordered, chosen by validation, beats that of {name}"
        claim = Claim(text, "better than", "test hypervolume", "", task=TEXT_TASK, sweep=_SWEEP)
        yield compared(claim, blocks, "weight sharing", rival)
