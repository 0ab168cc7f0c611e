import numpy as np
import pytest

from nasbench.analysis.experiments.definitions import BERT_BASE
from nasbench.analysis.figures.paper import figure_3

FULL, LAYER, FIXED = 108_311_810, 7_087_872, 23_257_346  # parameters of BERT-base-cased with two classes
HEAD = 3 * (768 * 64 + 64) + 64 * 768
UNIT = 2 * 768 + 1


@pytest.fixture(scope="module")
def data():
    return figure_3.data(BERT_BASE)


def test_each_space_has_500_samples(data):
    assert data.groupby("space").size().to_dict() == dict.fromkeys(("small", "medium", "layer", "large"), 500)
    assert data["params"].between(FIXED / FULL, 1).all()


def test_layer_space_takes_its_thirteen_values_uniformly(data):
    share = data.loc[data["space"] == "layer", "params"].value_counts(normalize=True).sort_index()
    expected = (FIXED + LAYER * np.arange(13)) / FULL
    np.testing.assert_allclose(share.index, expected, rtol=1e-12)
    # 4.5 standard errors of a share of 1/13 among 500
    np.testing.assert_allclose(share, 1 / 13, atol=4.5 * np.sqrt(1 / 13 * 12 / 13 / 500))


def test_means_agree_with_expectations_from_the_definitions(data):
    # A non-empty block costs 3 d for bias and LayerNorm: 12/13 of the head blocks, 3072/3073 of the unit blocks.
    layer = 6 * HEAD + 1536 * UNIT + 3 * 768 * (12 / 13 + 3072 / 3073)
    expected = {
        "small": (FIXED + 6 * layer) / FULL,  # E[l] = 6 layers, independent of h and u
        "medium": (FIXED + 12 * layer) / FULL,
        "layer": (FIXED + 6 * LAYER) / FULL,
    }
    for space, mean in expected.items():
        params = data.loc[data["space"] == space, "params"]
        assert params.mean() == pytest.approx(mean, abs=4 * params.std() / np.sqrt(500))


def test_distributions_have_the_shapes_described_in_the_paper(data):
    spread = data.groupby("space")["params"].std()
    uniform = (1 - FIXED / FULL) / np.sqrt(12)
    assert spread["medium"] < 0.25 * uniform  # "highly biased towards mid-size networks"
    assert spread["large"] == pytest.approx(uniform, rel=0.1)  # "a uniform distribution"
    assert data.loc[data["space"] == "small", "params"].median() < 0.5  # "biased to smaller networks"


def test_bars_of_each_histogram_add_up_to_100_percent(data):
    figure = figure_3.draw(data)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(100)
