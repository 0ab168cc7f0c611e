from itertools import combinations

import numpy as np
import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import critical_difference


def rows(n_tasks, searchers=("ehvi", "random", "local")):
    tasks = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")[:n_tasks]
    return [
        {"task": task, "searcher": searcher, "hypervolume": [3.0 - i]}
        for task in tasks
        for i, searcher in enumerate(searchers)
    ]


def test_entries_with_constant_order_have_whole_ranks_and_demsars_critical_difference(make_scores):
    diagram = critical_difference.data(make_scores(*rows(8)))
    result = diagram.comparison
    assert result.names == ("ws-nas/ehvi@small", "ws-nas/random@small", "ws-nas/local@small")
    assert result.ranks.tolist() == [1.0, 2.0, 3.0]
    assert result.n == 8
    # Demsar (2006), table 5: q = 2.343 for three classifiers; CD = q sqrt(k (k + 1) / (6 N))
    assert result.difference == pytest.approx(2.343 * (12 / 48) ** 0.5, abs=1e-3)
    assert result.groups == ((0, 1), (1, 2))
    texts = [text.get_text() for text in critical_difference.draw(diagram).axes[0].texts]
    assert "WS-NAS (EHVI)  1.00" in texts
    assert "Paper models, GPU; critical difference 1.17, n = 8 of 8 tasks" in texts


def test_entry_with_fewer_scenarios_is_left_out_and_named(make_scores):
    diagram = critical_difference.data(
        make_scores(*rows(3), {"task": "rte", "searcher": "morea", "hypervolume": [9.0]})
    )
    assert (diagram.left_out, diagram.comparison.n) == (("ws-nas/morea@small",), 3)
    text = critical_difference.draw(diagram).axes[0].texts[-1].get_text()
    assert text.endswith("n = 3 of 3 tasks\nleft out, because they did not run in all 3 scenarios: WS-NAS (MO-REA)")


def test_scenario_or_seed_of_a_single_entry_does_not_change_the_comparison(make_scores):
    alone = {"task": "qnli", "searcher": "ehvi", "hypervolume": [3.0]}
    diagram = critical_difference.data(make_scores(*rows(1), alone))
    assert (len(diagram.comparison.names), diagram.comparison.n, diagram.n_tasks) == (3, 1, 2)
    # A run with a seed that no other entry has.
    diagram = critical_difference.data(make_scores(*rows(1), {**alone, "task": "rte", "seed": 5}))
    assert (len(diagram.comparison.names), diagram.comparison.n, diagram.n_tasks) == (3, 1, 1)


def test_models_of_a_task_count_as_one_value(make_scores):
    both = [{**row, "model": model} for row in rows(3) for model in ("bert-base-cased", "roberta-base")]
    lacking = {"task": "rte", "searcher": "morea", "hypervolume": [9.0]}
    diagram = critical_difference.data(make_scores(*both, lacking))
    assert (diagram.comparison.n, diagram.n_tasks, diagram.n_scenarios) == (3, 3, 6)
    text = critical_difference.draw(diagram).axes[0].texts[-1].get_text()
    assert "n = 3 of 3 tasks\nleft out, because they did not run in all 6 scenarios: WS-NAS (MO-REA)" in text


def largest_table_by_brute_force(runs: set[tuple[str, str]]) -> tuple[int, int]:
    """Size and number of entries of the largest complete table, found by trying all sets of entries."""
    names, best = sorted({name for name, _ in runs}), (0, 0)
    for k in range(2, len(names) + 1):
        for chosen in combinations(names, k):
            n_scenarios = len(
                set.intersection(*({scenario for name, scenario in runs if name == own} for own in chosen))
            )
            best = max(best, (k * n_scenarios, k if n_scenarios else 0))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_largest_complete_table_is_compared(make_scores, seed):
    rng = np.random.default_rng(seed)
    everything = [row | {"hypervolume": [rng.random()]} for row in rows(6, ("ehvi", "random", "local", "morea", "x"))]
    kept = [row for row in everything if rng.random() < 0.6]
    size, n_entries = largest_table_by_brute_force({(row["searcher"], row["task"]) for row in kept})
    result = critical_difference.data(make_scores(*kept)).comparison
    assert (len(result.names) * result.n, len(result.names)) == (size, n_entries)
    assert result.n_incomplete == 0


def test_diagram_has_a_single_track_and_device_class(make_scores):
    compact = [{**row, "track": "compact", "model": "minilm-l6"} for row in rows(2)]
    on_cpu = [{**row, "device_class": "cpu"} for row in rows(4)]
    diagram = critical_difference.data(make_scores(*rows(3), *compact))
    assert (diagram.title, diagram.comparison.n, diagram.n_tasks) == ("Paper models, GPU", 3, 3)
    diagram = critical_difference.data(make_scores(*rows(3), *compact, *on_cpu))
    assert (diagram.title, diagram.comparison.n, diagram.n_tasks) == ("Paper models, CPU", 4, 4)


def test_single_entry_raises_missing_runs(make_scores):
    with pytest.raises(MissingRuns):
        critical_difference.data(make_scores(*rows(2, searchers=("ehvi",))))
