"""The paper's windows of time: which seconds they are, and that scores in them follow."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.windows import STANDARD_S, WEIGHT_SHARING_S, in_window, windows_s
from nasbench.analysis.figures.paper import figure_6, figure_12
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.analysis.scoring.scores import score
from nasbench.analysis.scoring.verdicts import EARLY
from nasbench.plugins import registry

SEARCHERS = [Entry("ws-nas", "random"), Entry("ws-nas", "ehvi", shift=-0.05), Entry("s-nas", "random")]


def windows(folder: Path) -> dict[tuple[str, int], tuple[float, float]]:
    found = read_results(folder).finished()
    limits = windows_s(found.runs, found.evaluations)
    keys = zip(found.runs["entry"], found.runs["seed"], strict=True)
    return {key: tuple(pair) for key, pair in zip(keys, limits.tolist(), strict=True)}


def test_every_task_of_the_paper_has_its_windows() -> None:
    names = {task.name for task in registry.paper_tasks()}
    assert set(WEIGHT_SHARING_S) == set(STANDARD_S) == names
    assert WEIGHT_SHARING_S["rte"] == (150, 400)


def test_papers_models_on_a_gpu_have_the_papers_seconds(tmp_path: Path) -> None:
    write_results(tmp_path, Plan([*SEARCHERS, Entry("rfp", space="large")], tasks=["rte"], seeds=[0]))
    found = windows(tmp_path)
    assert found["ws-nas/random@small", 0] == found["ws-nas/ehvi@small", 0] == (150, 400)
    assert found["s-nas/random@small", 0] == (0, 2500)
    assert np.isnan(found["rfp@large", 0]).all()


def test_window_of_a_small_model_begins_with_the_search_and_ends_after_100_samples(tmp_path: Path) -> None:
    plan = Plan(SEARCHERS, tasks=["rte"], seeds=[0, 1], n_evaluations=150, device_class="cpu", track="compact")
    write_results(tmp_path, plan)
    found, results = windows(tmp_path), read_results(tmp_path)
    evaluations = results.evaluations[results.evaluations["method"] == "ws-nas"]
    for seed in (0, 1):
        own = evaluations[evaluations["seed"] == seed].groupby("entry")["elapsed_s"]
        times = {str(entry): np.sort(elapsed) for entry, elapsed in own}
        assert set(times) == {"ws-nas/random@small", "ws-nas/ehvi@small"}
        length = min(t[102] - t[0] for t in times.values())
        for entry, t in times.items():
            assert found[entry, seed] == pytest.approx((t[0], t[0] + length))
        assert found["s-nas/random@small", seed] == (0, pytest.approx(7200 * 2500 / 7200))


def test_window_without_100_samples_ends_with_the_first_budget(tmp_path: Path) -> None:
    write_results(tmp_path, Plan(SEARCHERS, tasks=["rte"], seeds=[0], device_class="cpu", track="compact"))
    limits = np.array([windows(tmp_path)[entry, 0] for entry in ("ws-nas/random@small", "ws-nas/ehvi@small")])
    assert limits[:, 1].max() == pytest.approx(7200)
    assert np.ptp(limits[:, 1] - limits[:, 0]) == pytest.approx(0, abs=1e-9)
    assert np.ptp(limits[:, 0]) > 1


def test_longer_training_does_not_move_a_run_in_its_window(tmp_path: Path) -> None:
    plan = Plan(SEARCHERS[:2], tasks=["rte"], seeds=[0], n_evaluations=150, device_class="cpu", track="compact")
    random, ehvi = write_results(tmp_path, plan)
    lines = [json.loads(line) for line in (random / "evaluations.jsonl").read_text().splitlines()]
    for path, training_s in ((random, 0.0), (ehvi, 500.0)):
        late = [line | {"elapsed_s": line["elapsed_s"] / 2 + training_s} for line in lines]
        (path / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in late))
    results = read_results(tmp_path)
    within = in_window(results, score(results, Quantiles()))
    begins = within.runs["begin_s"]
    assert begins.max() - begins.min() == pytest.approx(500)
    early = int(np.searchsorted(within.grid, EARLY))
    assert within.hypervolume[0, early] < within.hypervolume[0, -1]
    np.testing.assert_allclose(within.hypervolume[0, : early + 1], within.hypervolume[1, : early + 1])


def test_scores_in_a_window_are_those_of_the_evaluations_until_then(tmp_path: Path) -> None:
    plan = Plan(SEARCHERS, tasks=["rte"], seeds=[0], n_evaluations=150, device_class="cpu", track="compact")
    write_results(tmp_path, plan)
    results = read_results(tmp_path)
    scores = score(results, Quantiles())
    within = in_window(results, scores)
    row = within.runs.index[within.runs["entry"] == "ws-nas/random@small"][0]
    begin, end = within.runs.loc[row, ["begin_s", "end_s"]]
    whole = score(results, Quantiles(), n_times=72_000)
    everywhere = whole.runs.index[whole.runs["entry"] == "ws-nas/random@small"][0]
    for t in (0.25, 0.5, 1.0):
        step = np.searchsorted(within.grid, t)
        slow = whole.hypervolume[everywhere, np.searchsorted(whole.grid * 7200, begin + t * (end - begin))]
        assert within.hypervolume[row, step] == pytest.approx(slow, abs=0.02)
    assert within.hypervolume[row, -1] < scores.hypervolume[everywhere, -1]
    data = figure_12.data(within)
    time_s = data.loc[data["algorithm"] == "ws-nas/random", "time_s"]
    assert (time_s.min(), time_s.max()) == pytest.approx((begin + (end - begin) / 100, end))
    assert set(figure_6.data(within)["algorithm"]) == {"ws-nas/random", "ws-nas/ehvi"}
