import pytest

from nasbench.analysis import critical_difference
from nasbench.analysis.experiments import MissingRuns


def rows(n_tasks, searchers=("ehvi", "random", "local")):
    tasks = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2", "swag", "qnli")[:n_tasks]
    return [
        {"task": task, "searcher": searcher, "hypervolume": [3.0 - i]}
        for task in tasks
        for i, searcher in enumerate(searchers)
    ]


def test_three_methods_always_in_the_same_order(make_scores):
    data = critical_difference.data(make_scores(*rows(8)))
    assert data.names == ("ws-nas/ehvi@small", "ws-nas/random@small", "ws-nas/local@small")
    assert data.ranks.tolist() == [1.0, 2.0, 3.0]
    assert data.n == 8
    # Demsar (2006), table 5: q = 2.343 for three classifiers; CD = q sqrt(k (k + 1) / (6 N))
    assert data.difference == pytest.approx(2.343 * (12 / 48) ** 0.5, abs=1e-3)
    assert data.groups == ((0, 1), (1, 2))
    texts = [text.get_text() for text in critical_difference.draw(data).axes[0].texts]
    assert "WS-NAS (EHVI)  1.00" in texts
    assert "critical difference 1.17, n = 8 tasks and models" in texts


def test_a_contestant_in_fewer_cells_stays_out(make_scores):
    scores = make_scores(*rows(3), {"task": "rte", "searcher": "morea", "hypervolume": [9.0]})
    assert "ws-nas/morea@small" not in critical_difference.data(scores).names


def test_only_one_track(make_scores):
    compact = [{**row, "track": "compact", "model": "minilm-l6"} for row in rows(2)]
    assert critical_difference.data(make_scores(*rows(3), *compact)).n == 3
    assert critical_difference.data(make_scores(*rows(3), *compact), track="compact").n == 2


def test_alone(make_scores):
    with pytest.raises(MissingRuns):
        critical_difference.data(make_scores(*rows(2, searchers=("ehvi",))))
