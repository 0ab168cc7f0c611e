"""The paper's claims: verdicts from intervals, and from generated results with known truth."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.claims import claims
from nasbench.analysis.report.paper_claims import check_claims, share_in_order
from nasbench.analysis.report.results_page import page
from nasbench.analysis.scoring.quantiles import Quantiles, ScenarioQuantiles
from nasbench.analysis.scoring.verdicts import ClaimResult, judge

NAN = float("nan")
TASKS = ("rte", "mrpc", "stsb", "cola")
COMPACT = {"device_class": "cpu", "track": "compact"}
"""Where the window of weight sharing follows the evaluations instead of the paper's seconds."""


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
def test_judge_follows_its_table(relation: str, low: float, high: float, verdict: str) -> None:
    assert judge(relation, low, high, margin=0.1) == verdict  # type: ignore[arg-type]


def limit_evaluations(folder: Path, n: int) -> None:
    """Turn all runs into runs of ``n`` random sub-networks, as in figures 5 and 7."""
    for path in folder.rglob("run.json"):
        record = json.loads(path.read_text())
        record["identity"] |= {"max_evaluations": n, "budget_s": None}
        path.write_text(json.dumps(record))


def found(folder: Path) -> dict[str, ClaimResult]:
    return {result.claim.text: result for result in check_claims(read_results(folder), Quantiles())}


def test_claims_without_runs_name_the_experiment(tmp_path: Path) -> None:
    assert {result.verdict for result in found(tmp_path).values()} == {"not run"}
    assert "nasbench experiment fig5" in claims(tmp_path, Quantiles())


def test_claims_of_a_section_name_the_command_that_makes_its_runs(tmp_path: Path) -> None:
    plan = Plan([Entry("rfp", space="large")], ["demo"], ["minilm-l6"], [0], n_evaluations=5, track="demo")
    for device in ("cpu", "gpu"):
        write_results(tmp_path, dataclasses.replace(plan, device_class=device))
    on_gpu, _, on_cpu = claims(tmp_path, Quantiles()).partition("Demo, CPU")
    command = "needs: nasbench experiment fig5 --task demo --model minilm-l6 --seed 0 --device"
    for text, flag in ((on_cpu, "cpu"), (on_gpu, "cuda")):
        line = next(line for line in text.splitlines() if line.startswith("SMALL beats MEDIUM, except on CoLA"))
        assert f"{command} {flag} " in line
        line = next(line for line in text.splitlines() if line.startswith("on CoLA SMALL does not beat MEDIUM"))
        assert "cannot be judged here" in line


def test_simulated_runs_alone_decide_no_claim(tmp_path: Path) -> None:
    entries = [Entry("s-nas", "random"), Entry("s-nas", "local", shift=0.05)]
    plan = Plan(entries, tasks=TASKS[:3], seeds=range(3), n_evaluations=8, device_class="table", track="compact")
    write_results(tmp_path, plan)
    text = claims(tmp_path, Quantiles())
    assert text.startswith("No runs that the claims are about\n")
    assert "confirmed  " not in text
    assert "refuted  " not in text


def test_spaces_are_compared_separately_on_cola(tmp_path: Path) -> None:
    own, shared = ({"strategy": "full", "n_random": 2, "training_space": space} for space in (None, "small"))
    entries = [
        Entry("ws-nas", "random", "small", -0.05, own),
        Entry("ws-nas", "random", "medium", 0.05, own),
        Entry("ws-nas", "random", "layer", -0.05, own),
        Entry("ws-nas", "random", "large", -0.1, own),
        # On the super-network that was trained in SMALL: the paper's claims are not about it.
        Entry("ws-nas", "random", "large", 0.1, shared, changed_options=True),
    ]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc", "stsb", "cola"], seeds=range(6), n_evaluations=103))
    limit_evaluations(tmp_path, 103)
    verdicts = found(tmp_path)
    assert verdicts["SMALL beats MEDIUM, except on CoLA"].verdict == "confirmed"
    assert verdicts["SMALL beats LARGE, except on CoLA"].verdict == "refuted"
    assert verdicts["on CoLA SMALL does not beat MEDIUM"].verdict == "refuted"
    assert verdicts["on CoLA SMALL does not beat LARGE"].verdict == "confirmed"
    claim = verdicts["SMALL beats MEDIUM, except on CoLA"]
    assert (claim.n, claim.n_tasks) == (18, 3)
    assert claim.low < claim.difference < claim.high
    assert claim.task_low < claim.difference < claim.task_high
    on_cola = verdicts["on CoLA SMALL does not beat MEDIUM"]
    assert (on_cola.n, on_cola.n_tasks) == (6, 1)
    assert np.isnan([on_cola.task_low, on_cola.task_high]).all()


def test_strategies_are_compared_by_their_option(tmp_path: Path) -> None:
    shifts = {"full": -0.1, "sandwich": -0.05, "kd": -0.05, "random-linear": 0.0, "random": 0.05, "standard": 0.05}
    entries = [
        Entry(
            "ws-nas", "random", shift=shift, options={"strategy": name, "n_random": 2}, changed_options=name != "full"
        )
        for name, shift in shifts.items()
    ]
    write_results(tmp_path, Plan(entries, tasks=TASKS, seeds=range(6), n_evaluations=103, noise=0.001))
    limit_evaluations(tmp_path, 103)
    verdicts = {text: result.verdict for text, result in found(tmp_path).items() if text.startswith("training: ")}
    assert verdicts.pop("training: on CoLA standard is at least as good as full") == "refuted"
    assert set(verdicts.values()) == {"confirmed"}
    assert len(verdicts) == 7


def test_comparison_of_strategies_leaves_out_super_networks_trained_in_other_spaces(tmp_path: Path) -> None:
    options = {"n_random": 2, "training_space": None}
    entries = [
        Entry("ws-nas", "random", shift=-0.05, options=options | {"strategy": "full"}),
        Entry("ws-nas", "random", shift=0.05, options=options | {"strategy": "kd"}, changed_options=True),
        Entry(
            "ws-nas",
            "random",
            shift=0.1,
            options={"n_random": 2, "strategy": "full", "training_space": "large"},
            changed_options=True,
        ),
    ]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc", "cola"], seeds=range(4), n_evaluations=103))
    limit_evaluations(tmp_path, 103)
    claim = found(tmp_path)["training: full is at least as good as kd"]
    assert (claim.verdict, claim.n) == ("confirmed", 12)


ON_AVERAGE = "standard NAS: moasha beats random search on average"
ON_RTE = "standard NAS: moasha does not beat random search on RTE"


def write_moasha(folder: Path, tasks: list[str], n_seeds: int, better: bool = True) -> dict[str, ClaimResult]:
    """Write runs in which MO-ASHA is clearly better or worse than random search; return the claims."""
    shift = 0.1 if better else -0.1
    entries = [Entry("s-nas", "moasha", shift=-shift), Entry("s-nas", "random", shift=shift)]
    write_results(folder, Plan(entries, tasks=tasks, seeds=range(n_seeds), noise=0.001))
    return found(folder)


@pytest.mark.parametrize(
    ("tasks", "n_seeds", "verdict"),
    [
        (["mrpc"], 1, "undecided"),
        (["mrpc"], 10, "undecided"),
        (["mrpc", "rte"], 10, "undecided"),
        (["mrpc", "rte", "cola"], 1, "confirmed"),
        (["mrpc", "rte", "cola"], 2, "confirmed"),
    ],
)
def test_general_claims_need_three_tasks_however_many_seeds(
    tmp_path: Path, tasks: list[str], n_seeds: int, verdict: str
) -> None:
    claim = write_moasha(tmp_path, tasks, n_seeds)[ON_AVERAGE]
    assert (claim.verdict, claim.n, claim.n_tasks) == (verdict, len(tasks) * n_seeds, len(tasks))
    assert claim.difference > 0
    assert np.isnan(claim.task_low) == (len(tasks) < 3)
    # Where seeds are repeated, the difference on these tasks is clear. It does not decide a general claim.
    assert np.isnan(claim.low) == (n_seeds == 1)
    assert np.isnan(claim.low) or claim.low > 0


def test_models_of_a_task_do_not_count_as_tasks(tmp_path: Path) -> None:
    entries = [Entry("s-nas", "moasha", shift=-0.1), Entry("s-nas", "random", shift=0.1)]
    models = ["bert-base-cased", "roberta-base"]
    write_results(tmp_path, Plan(entries, tasks=["mrpc", "rte"], models=models, seeds=range(3), noise=0.001))
    claim = found(tmp_path)[ON_AVERAGE]
    assert (claim.verdict, claim.n, claim.n_tasks) == ("undecided", 12, 2)


@pytest.mark.parametrize(
    ("n_seeds", "better", "verdict"),
    [(2, True, "undecided"), (3, True, "refuted"), (3, False, "confirmed"), (10, True, "refuted")],
)
def test_claim_on_one_task_is_decided_by_its_seeds(tmp_path: Path, n_seeds: int, better: bool, verdict: str) -> None:
    results = write_moasha(tmp_path, ["rte"], n_seeds, better)
    claim = results[ON_RTE]
    assert (claim.verdict, claim.n, claim.n_tasks) == (verdict, n_seeds, 1)
    assert np.isnan([claim.task_low, claim.task_high]).all()
    assert results[ON_AVERAGE].verdict == "undecided"


def test_tasks_that_disagree_leave_a_general_claim_undecided(tmp_path: Path) -> None:
    # Clearly better on two tasks, slightly worse on the third: seeds are certain of the mean, tasks are not.
    write_moasha(tmp_path, ["mrpc", "cola"], 10)
    entries = [Entry("s-nas", "moasha", shift=0.02), Entry("s-nas", "random", shift=-0.02)]
    write_results(tmp_path, Plan(entries, tasks=["rte"], seeds=range(10), noise=0.001))
    claim = found(tmp_path)[ON_AVERAGE]
    assert claim.low > 0
    assert claim.task_low < 0 < claim.task_high
    assert (claim.verdict, claim.n_tasks) == ("undecided", 3)


def test_runs_in_other_spaces_do_not_change_the_verdicts(tmp_path: Path) -> None:
    entries = [
        Entry("ws-nas", "ehvi", shift=-0.05),
        Entry("ws-nas", "random", shift=0.05),
        Entry("rfp", space="large", shift=0.1),
        Entry("layer-dropping", space="layer", shift=-0.05),
    ]
    plan = Plan(entries, tasks=["rte", "mrpc"], seeds=range(4), noise=0.002)
    write_results(tmp_path, plan)
    # A normaliser that does not depend on the runs.
    knots = {name: np.array([0.0, 1.0]) for name in ("error", "params")}
    scenarios = read_results(tmp_path).runs["scenario"].unique()
    frozen = Quantiles({str(scenario): ScenarioQuantiles(knots, "1", 0, 0) for scenario in scenarios}, version=1)
    before = check_claims(read_results(tmp_path), frozen)
    # Runs of three evaluations begin late. If they counted, "early" would be later in the search in SMALL.
    elsewhere = [Entry("ws-nas", "ehvi", "large", 0.1), Entry("rfp", None, "small", -0.1)]
    write_results(tmp_path, dataclasses.replace(plan, entries=elsewhere, n_evaluations=3))
    # As text, because missing numbers are NaN, which differs from itself.
    assert repr(check_claims(read_results(tmp_path), frozen)) == repr(before)
    assert sum(claim.n == 8 for claim in before) == 3


def test_verdicts_on_searchers_and_pruning_methods_follow_the_truth(tmp_path: Path) -> None:
    entries = [
        Entry("s-nas", "random", shift=-0.04),
        Entry("s-nas", "local", shift=0.05),
        Entry("s-nas", "moasha", shift=-0.08),
        Entry("ws-nas", "ehvi", shift=-0.05),
        Entry("ws-nas", "random", shift=0.05),
        Entry("ws-nas", "local", shift=0.08),
        Entry("rfp", space="large", shift=0.1),
        Entry("layer-dropping", space="layer", shift=-0.05),
    ]
    write_results(tmp_path, Plan(entries, tasks=TASKS, seeds=range(4), noise=0.002, **COMPACT))
    verdicts = {text: result.verdict for text, result in found(tmp_path).items()}
    assert verdicts["standard NAS: random search is at least as good as local"] == "confirmed"
    assert verdicts["standard NAS: moasha beats random search on average"] == "confirmed"
    assert verdicts["standard NAS: moasha does not beat random search on RTE"] == "refuted"
    assert verdicts["standard NAS: random search is at least as good as ehvi"] == "not run"
    assert verdicts["weight sharing: ehvi is ahead of random early in the paper's window"] == "confirmed"
    assert verdicts["weight sharing: local search has caught up with ehvi at the end of the budget"] == "refuted"
    assert verdicts["weight-sharing NAS beats rfp where it prunes most"] == "confirmed"
    assert verdicts["standard NAS beats head-pruning where it prunes most"] == "not run"
    assert verdicts["standard NAS beats rfp where it prunes most"] == "confirmed"
    assert verdicts["layer dropping is competitive with NAS"] == "confirmed"
    assert verdicts["weight sharing: local search overtakes random search by the end of the budget"] == "refuted"


def test_text_has_tables_for_each_track_and_device_class_and_warnings(tmp_path: Path) -> None:
    plan = Plan([Entry("rfp", space="large")], tasks=["rte"], seeds=[0], n_evaluations=5, status="failed")
    write_results(tmp_path, plan)
    write_results(tmp_path, dataclasses.replace(plan, device_class="cpu", track="demo"))
    text = claims(tmp_path, Quantiles())
    assert "Paper models, GPU" in text
    assert "Demo, CPU" in text
    assert "is undecided for fewer than 3 tasks." in text
    assert "on these tasks" in text
    assert "on tasks like these" in text
    assert text.count("quantisation saves memory") == 2
    assert text.count("needs: nasbench quantize RUN") == 2
    assert "the run failed: simulated failure" in text


def test_text_says_how_many_unofficial_runs_count(tmp_path: Path) -> None:
    entries = [Entry("s-nas", "moasha"), Entry("s-nas", "random")]
    write_results(tmp_path, Plan(entries, tasks=["rte"], seeds=range(2), n_evaluations=9))
    assert "nofficial" not in claims(tmp_path, Quantiles())
    others = Plan(entries, tasks=["rte"], seeds=[57], n_evaluations=9, unofficial=("seed 57",))
    write_results(tmp_path, others)
    # Neither changed options nor a limit on the evaluations is news: the name of the entry says so.
    changed = [Entry("s-nas", "random", options={"epochs": 9}, changed_options=True)]
    write_results(tmp_path, dataclasses.replace(others, entries=changed))
    assert found(tmp_path)[ON_RTE].n == 3
    sentence = "Unofficial runs that count, beside those with a limit on their evaluations: 2."
    assert sentence in claims(tmp_path, Quantiles())
    assert sentence in page(tmp_path, Quantiles())


def sampled(folder: Path, entries: list[Entry], tasks: tuple[str, ...] = TASKS) -> dict[str, str]:
    """Verdicts on runs of 100 random sub-networks."""
    write_results(folder, Plan(entries, tasks=tasks, seeds=range(4), n_evaluations=103, noise=0.001))
    limit_evaluations(folder, 103)
    return {text: result.verdict for text, result in found(folder).items()}


@pytest.mark.parametrize(("shift", "verdict"), [(-0.05, "confirmed"), (0.05, "refuted")])
def test_layer_against_medium_and_large_follows_the_truth(tmp_path: Path, shift: float, verdict: str) -> None:
    full = {"strategy": "full"}
    entries = [Entry("ws-nas", "random", "layer", shift, full)]
    entries += [Entry("ws-nas", "random", space, -shift, full) for space in ("medium", "large")]
    verdicts = sampled(tmp_path, entries)
    assert {verdicts[f"LAYER often beats {space}"] for space in ("MEDIUM", "LARGE")} == {verdict}


@pytest.mark.parametrize(("shift", "verdict"), [(-0.05, "confirmed"), (0.08, "refuted")])
def test_standard_training_on_cola_follows_the_truth(tmp_path: Path, shift: float, verdict: str) -> None:
    entries = [
        Entry("ws-nas", "random", shift=-shift, options={"strategy": "full"}),
        Entry("ws-nas", "random", shift=shift, options={"strategy": "standard"}, changed_options=True),
    ]
    assert sampled(tmp_path, entries, ("cola",))["training: on CoLA standard is at least as good as full"] == verdict


@pytest.mark.parametrize(("shift", "verdict"), [(-0.05, "confirmed"), (0.05, "refuted")])
def test_weight_sharing_against_standard_nas_follows_the_truth(tmp_path: Path, shift: float, verdict: str) -> None:
    entries = [Entry("ws-nas", "ehvi", shift=shift), Entry("s-nas", "random", shift=-shift)]
    write_results(tmp_path, Plan(entries, tasks=TASKS, seeds=range(3), noise=0.001))
    assert found(tmp_path)["weight-sharing NAS beats standard NAS on the same budget"].verdict == verdict


@pytest.mark.parametrize(("better", "verdict"), [(True, "confirmed"), (False, "refuted")])
def test_local_search_and_random_search_under_weight_sharing(tmp_path: Path, better: bool, verdict: str) -> None:
    shift = -0.08 if better else 0.08
    entries = [Entry("ws-nas", "local", shift=shift), Entry("ws-nas", "random", shift=-shift)]
    write_results(tmp_path, Plan(entries, tasks=TASKS, seeds=range(3), n_evaluations=120, noise=0.001, **COMPACT))
    results = found(tmp_path)
    overtakes = results["weight sharing: local search overtakes random search by the end of the budget"]
    strong = results["weight sharing: random search is at least as good as local early in the paper's window"]
    assert overtakes.verdict == verdict
    assert strong.verdict == ("refuted" if better else "confirmed")


LARGER_DATA = "NAS gains more on head-pruning and rfp on the four larger data sets than on the smaller ones"
LARGE, SMALL = ("imdb", "sst2", "swag", "qnli"), ("rte", "mrpc", "stsb")


@pytest.mark.parametrize(
    ("on_large", "on_small", "tasks", "verdict"),
    [
        (0.08, 0.0, LARGE, "confirmed"),
        (0.0, 0.08, LARGE, "refuted"),
        (0.04, 0.04, LARGE, "undecided"),
        (0.08, 0.0, LARGE[:2], "undecided"),  # two tasks say nothing about other tasks
        (0.08, 0.0, (), "not run"),
    ],
)
def test_gain_on_larger_data_follows_the_truth(tmp_path: Path, on_large, on_small, tasks, verdict) -> None:
    for gain, names in ((on_large, tasks), (on_small, SMALL)):
        entries = [
            Entry("ws-nas", "ehvi", shift=-gain),
            Entry("rfp", space="large", shift=gain),
            Entry("head-pruning", space="large", shift=gain),
        ]
        write_results(tmp_path, Plan(entries, tasks=names, seeds=range(4), noise=0.001))
    claim = found(tmp_path)[LARGER_DATA]
    assert (claim.verdict, claim.n_tasks) == (verdict, 0 if verdict == "not run" else len(tasks) + 3)


def test_share_in_order_of_a_slow_count() -> None:
    rng = np.random.default_rng(0)
    configs = rng.integers(0, 4, size=(40, 3))
    configs = np.unique(configs, axis=0)
    errors = rng.random(len(configs)).round(1)
    good = n = 0
    for small, e_small in zip(configs, errors, strict=True):
        for large, e_large in zip(configs, errors, strict=True):
            empty = [c[2] == 0 or (c[0] == 0 and c[1] == 0) for c in (small, large)]
            if all(a <= b for a, b in zip(small, large, strict=True)) and list(small) != list(large) and not all(empty):
                n += 1
                good += 0.5 if e_large == e_small else e_large < e_small
    assert n > 20
    assert share_in_order(configs, errors) == pytest.approx(good / n)
    assert np.isnan(share_in_order(configs[:1], errors[:1]))


@pytest.mark.parametrize(("noisy", "verdict"), [("s-nas", "confirmed"), ("ws-nas", "refuted")])
def test_noise_is_told_from_the_order_of_errors(tmp_path: Path, noisy: str, verdict: str) -> None:
    rng = np.random.default_rng(1)
    paths = write_results(
        tmp_path, Plan([Entry("s-nas", "random"), Entry("ws-nas", "random")], tasks=TASKS, seeds=range(3))
    )
    networks = (paths[0] / "evaluations.jsonl").read_text().splitlines()
    for path in paths:
        # The same networks in both runs: the noiseless error is smaller the larger the network.
        lines = [json.loads(line) for line in networks]
        spread = 0.15 if f"/{noisy}+" in str(path) else 0.01
        for line in lines:
            line["error"] = float(np.clip(0.9 - 0.5 * line["params"] + spread * rng.standard_normal(), 0.0, 1.0))
        (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    claim = found(tmp_path)["errors are less noisy with shared weights than with networks fine-tuned alone"]
    assert (claim.verdict, claim.n, claim.n_tasks) == (verdict, 12, 4)
