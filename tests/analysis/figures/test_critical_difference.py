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


def test_three_methods_always_in_the_same_order(make_scores):
    diagram = critical_difference.data(make_scores(*rows(8)))
    data = diagram.found
    assert data.names == ("ws-nas/ehvi@small", "ws-nas/random@small", "ws-nas/local@small")
    assert data.ranks.tolist() == [1.0, 2.0, 3.0]
    assert data.n == 8
    # Demsar (2006), table 5: q = 2.343 for three classifiers; CD = q sqrt(k (k + 1) / (6 N))
    assert data.difference == pytest.approx(2.343 * (12 / 48) ** 0.5, abs=1e-3)
    assert data.groups == ((0, 1), (1, 2))
    texts = [text.get_text() for text in critical_difference.draw(diagram).axes[0].texts]
    assert "WS-NAS (EHVI)  1.00" in texts
    assert "Paper models, GPU; critical difference 1.17, n = 8 of 8 tasks and models" in texts


def test_a_entry_in_fewer_scenarios_stays_out_and_is_named(make_scores):
    diagram = critical_difference.data(
        make_scores(*rows(3), {"task": "rte", "searcher": "morea", "hypervolume": [9.0]})
    )
    assert (diagram.left_out, diagram.found.n) == (("ws-nas/morea@small",), 3)
    text = critical_difference.draw(diagram).axes[0].texts[-1].get_text()
    assert text.endswith("n = 3 of 3 tasks and models\nleft out, for not having run on all of these: WS-NAS (MO-REA)")


def test_one_more_scenario_of_one_entry_leaves_the_diagram_as_it_is(make_scores):
    alone = {"task": "qnli", "searcher": "ehvi", "hypervolume": [3.0]}
    diagram = critical_difference.data(make_scores(*rows(1), alone))
    assert (len(diagram.found.names), diagram.found.n, diagram.n_scenarios) == (3, 1, 2)
    # Nor does a run with another seed, which nobody else has.
    diagram = critical_difference.data(make_scores(*rows(1), {**alone, "task": "rte", "seed": 5}))
    assert (len(diagram.found.names), diagram.found.n, diagram.n_scenarios) == (3, 1, 1)


def largest_by_trying_everything(runs: set[tuple[str, str]]) -> tuple[int, int]:
    """Entries x scenarios and entries of the best full table, over all sets of entries."""
    names, best = sorted({name for name, _ in runs}), (0, 0)
    for k in range(2, len(names) + 1):
        for chosen in combinations(names, k):
            n_scenarios = len(
                set.intersection(*({scenario for name, scenario in runs if name == own} for own in chosen))
            )
            best = max(best, (k * n_scenarios, k if n_scenarios else 0))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_largest_full_table_is_compared(make_scores, seed):
    rng = np.random.default_rng(seed)
    everything = [row | {"hypervolume": [rng.random()]} for row in rows(6, ("ehvi", "random", "local", "morea", "x"))]
    kept = [row for row in everything if rng.random() < 0.6]
    size, n_entries = largest_by_trying_everything({(row["searcher"], row["task"]) for row in kept})
    found = critical_difference.data(make_scores(*kept)).found
    assert (len(found.names) * found.n, len(found.names)) == (size, n_entries)
    assert found.n_incomplete == 0


def test_tracks_and_device_classes_never_mix(make_scores):
    compact = [{**row, "track": "compact", "model": "minilm-l6"} for row in rows(2)]
    on_cpu = [{**row, "device_class": "cpu"} for row in rows(4)]
    diagram = critical_difference.data(make_scores(*rows(3), *compact))
    assert (diagram.title, diagram.found.n, diagram.n_scenarios) == ("Paper models, GPU", 3, 3)
    diagram = critical_difference.data(make_scores(*rows(3), *compact, *on_cpu))
    assert (diagram.title, diagram.found.n, diagram.n_scenarios) == ("Paper models, CPU", 4, 4)


def test_alone(make_scores):
    with pytest.raises(MissingRuns):
        critical_difference.data(make_scores(*rows(2, searchers=("ehvi",))))
