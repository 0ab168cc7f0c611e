import numpy as np
import pytest

from nasbench.analysis.figures.paper import figure_4
from nasbench.search.pareto import hypervolume


def test_rectangles_agree_with_values_calculated_by_hand():
    data = figure_4.data([(1.0, 0.5), (0.5, 1.0), (1.5, 1.5)])
    front = data[data["on_front"]]
    assert front[["x", "y", "width", "height"]].to_numpy().tolist() == [[0.5, 1.0, 1.5, 1.0], [1.0, 0.5, 1.0, 0.5]]
    assert not data["on_front"].iloc[2]


def test_areas_of_rectangles_add_up_to_the_hypervolume():
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 50):
        points = rng.uniform(0, 2, (n, 2)).round(1)  # rounding produces ties and duplicates
        data = figure_4.data(points)
        assert (data["width"] * data["height"]).sum() == pytest.approx(hypervolume(points, (2, 2)), abs=1e-12)


def test_example_is_labelled_with_its_hypervolume():
    figure = figure_4.draw(figure_4.data())
    # (2 - .15)(2 - 1.6) + (2 - .45)(1.6 - 1.05) + (2 - .9)(1.05 - .6) + (2 - 1.45)(.6 - .25) = 2.28
    assert "hypervolume 2.28" in [text.get_text() for text in figure.axes[0].texts]
