"""The paper's claims: verdicts from intervals, and from generated results whose truth is known."""

import dataclasses
import json
from pathlib import Path

import pytest

from nasbench.analysis.claims import ClaimResult, check_claims, claims, judge
from nasbench.analysis.frame import read_results
from nasbench.analysis.quantiles import Quantiles
from nasbench.testing.results import Contestant, Plan, write_results

NAN = float("nan")


@pytest.mark.parametrize(
    ("relation", "low", "high", "verdict"),
    [
        ("better than", 0.01, 0.2, "confirmed"),
        ("better than", -0.2, -0.01, "refuted"),
        ("better than", -0.01, 0.2, "undecided"),
        ("at least as good as", -0.05, 0.3, "confirmed"),
        ("at least as good as", -0.3, -0.15, "refuted"),
        ("at least as good as", -0.3, 0.1, "undecided"),
        ("as good as", -0.05, 0.05, "confirmed"),
        ("as good as", 0.11, 0.2, "refuted"),
        ("as good as", -0.2, -0.11, "refuted"),
        ("as good as", -0.2, 0.05, "undecided"),
        ("not better than", -0.5, 0.05, "confirmed"),
        ("not better than", 0.15, 0.5, "refuted"),
        ("not better than", -0.5, 0.5, "undecided"),
        ("better than", NAN, NAN, "undecided"),
    ],
)
def test_verdicts(relation: str, low: float, high: float, verdict: str) -> None:
    assert judge(relation, low, high, margin=0.1) == verdict  # type: ignore[arg-type]


def limit_evaluations(folder: Path, n: int) -> None:
    """Turn all runs into runs of ``n`` random sub-networks, as figures 5 and 7 are made of."""
    for path in folder.rglob("run.json"):
        record = json.loads(path.read_text())
        record["identity"] |= {"max_evaluations": n, "budget_s": None}
        path.write_text(json.dumps(record))


def found(folder: Path) -> dict[str, ClaimResult]:
    return {result.claim.text: result for result in check_claims(read_results(folder), Quantiles())}


def test_nothing_was_run(tmp_path: Path) -> None:
    assert {result.verdict for result in found(tmp_path).values()} == {"not run"}
    assert "nasbench experiment fig5" in claims(tmp_path, Quantiles())


def test_spaces_are_compared_on_cola_and_elsewhere(tmp_path: Path) -> None:
    options = {"strategy": "full", "n_random": 2}
    contestants = [
        Contestant("ws-nas", "random", space, shift, options)
        for space, shift in (("small", -0.05), ("medium", 0.05), ("layer", -0.05), ("large", -0.1))
    ]
    write_results(tmp_path, Plan(contestants, tasks=["rte", "cola"], seeds=range(6), n_evaluations=103))
    limit_evaluations(tmp_path, 103)
    verdicts = found(tmp_path)
    assert verdicts["SMALL beats MEDIUM, CoLA apart"].verdict == "confirmed"
    assert verdicts["SMALL beats LARGE, CoLA apart"].verdict == "refuted"
    assert verdicts["on CoLA SMALL does not beat MEDIUM"].verdict == "refuted"
    assert verdicts["on CoLA SMALL does not beat LARGE"].verdict == "confirmed"
    one = verdicts["SMALL beats MEDIUM, CoLA apart"]
    assert (one.n, one.n_cells) == (6, 1)
    assert one.low < one.difference < one.high


def test_strategies_are_compared_by_the_option(tmp_path: Path) -> None:
    shifts = {"full": -0.1, "sandwich": -0.05, "kd": -0.05, "random-linear": 0.0, "random": 0.05, "standard": 0.05}
    contestants = [
        Contestant(
            "ws-nas", "random", shift=shift, options={"strategy": name, "n_random": 2}, changed_options=name != "full"
        )
        for name, shift in shifts.items()
    ]
    write_results(tmp_path, Plan(contestants, tasks=["rte", "mrpc"], seeds=range(8), n_evaluations=103, noise=0.001))
    limit_evaluations(tmp_path, 103)
    verdicts = {text: result.verdict for text, result in found(tmp_path).items() if text.startswith("training")}
    assert set(verdicts.values()) == {"confirmed"}
    assert len(verdicts) == 7


def test_searchers_and_pruning_methods(tmp_path: Path) -> None:
    contestants = [
        Contestant("s-nas", "random", shift=-0.04),
        Contestant("s-nas", "local", shift=0.05),
        Contestant("s-nas", "moasha", shift=-0.08),
        Contestant("ws-nas", "ehvi", shift=-0.05),
        Contestant("ws-nas", "random", shift=0.05),
        Contestant("ws-nas", "local", shift=0.08),
        Contestant("rfp", space="large", shift=0.1),
        Contestant("layer-dropping", space="layer", shift=-0.05),
    ]
    write_results(tmp_path, Plan(contestants, tasks=["rte", "mrpc"], seeds=range(6), noise=0.002))
    verdicts = {text: result.verdict for text, result in found(tmp_path).items()}
    assert verdicts["standard NAS: random search is at least as good as local"] == "confirmed"
    assert verdicts["standard NAS: moasha beats random search on average"] == "confirmed"
    assert verdicts["standard NAS: moasha does not beat random search on RTE"] != "confirmed"
    assert verdicts["standard NAS: random search is at least as good as ehvi"] == "not run"
    assert verdicts["weight sharing: ehvi is ahead of random early on"] == "confirmed"
    assert verdicts["weight sharing: local search has caught up with ehvi at the end"] == "refuted"
    assert verdicts["NAS beats rfp where it prunes most"] == "confirmed"
    assert verdicts["NAS beats head-pruning where it prunes most"] == "not run"
    assert verdicts["layer dropping is competitive with NAS"] == "confirmed"


def test_text_has_a_table_for_each_track_and_device_class_and_the_warnings(tmp_path: Path) -> None:
    plan = Plan([Contestant("rfp", space="large")], tasks=["rte"], seeds=[0], n_evaluations=5, status="failed")
    write_results(tmp_path, plan)
    write_results(tmp_path, dataclasses.replace(plan, device_class="cpu", track="demo"))
    text = claims(tmp_path, Quantiles())
    assert "Paper models, GPU" in text
    assert "Demo, CPU" in text
    assert text.count("quantisation saves memory") == 2
    assert "the run failed: simulated failure" in text
