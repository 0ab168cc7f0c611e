"""Labels are whole: none reaches beyond its figure or into the label of another panel."""

from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.figures import style
from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import Results, read_results
from nasbench.analysis.scoring.scores import Scores, score

ENTRIES = [
    Entry("head-pruning", space="large"),
    Entry("layer-dropping", space="layer"),
    Entry("rfp", space="large"),
    Entry("ws-nas-ordered", "ehvi-exact", "large"),
    *(Entry(method, searcher) for method in ("s-nas", "ws-nas") for searcher in ("random", "local", "morea", "ehvi")),
]
NAMES = ("front", "ranks", "6", "8", "10", "11", "12", "contest", "families")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Scores]:
    folder = tmp_path_factory.mktemp("results")
    write_results(folder, Plan(ENTRIES, tasks=["rte", "mrpc", "stsb", "cola"], seeds=range(3), n_evaluations=8))
    found = read_results(folder)
    return found, score(found, refit=True, n_times=10)


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_inside_the_figure_and_apart(name, results):
    figure = FIGURES[name].draw(FIGURES[name].data(*results))
    with style.applied():  # as when it is saved
        FigureCanvasAgg(figure).draw()
    labels = [label for ax in figure.axes for label in (ax.xaxis.label, ax.yaxis.label)]
    labels += figure.texts  # those of all panels together
    if name == "ranks":
        labels += [text for ax in figure.axes for text in ax.texts]  # it labels its axis by hand
    labels = [label for label in labels if label.get_text()]
    assert labels
    boxes = [label.get_window_extent() for label in labels]
    width, height = figure.bbox.max
    for label, box in zip(labels, boxes, strict=True):
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, label.get_text()
    for (i, first), (j, second) in combinations(enumerate(boxes), 2):
        assert not first.overlaps(second), (labels[i].get_text(), labels[j].get_text())
