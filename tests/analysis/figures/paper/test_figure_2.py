import numpy as np

from nasbench.analysis.experiments.definitions import BERT_BASE
from nasbench.analysis.figures.paper import figure_2


def masks(data, space):
    for _, part in data[data["space"] == space].groupby("mask"):
        yield part.sort_values(["layer", "head"])["kept"].to_numpy().reshape(12, 12)


def test_masks_have_the_pattern_that_defines_their_space():
    data = figure_2.data(BERT_BASE, n_masks=20)
    assert len(data) == 4 * 20 * 144
    for mask in masks(data, "small"):  # a rectangle in the corner of the first layer and head
        heads, layers = mask[0].sum(), mask[:, 0].sum()
        assert mask.sum() == heads * layers
        assert mask[:layers, :heads].all()
    for mask in masks(data, "medium"):  # in each layer the first heads, of any number
        assert (np.diff(mask.astype(int), axis=1) <= 0).all()
    for mask in masks(data, "layer"):
        assert set(mask.sum(axis=1)) <= {0, 12}
    assert any((np.diff(mask.astype(int), axis=1) > 0).any() for mask in masks(data, "large"))


def test_first_layer_is_drawn_at_the_bottom():
    data = figure_2.data(BERT_BASE, n_masks=1)
    data["kept"] = data["layer"] == 0
    figure = figure_2.draw(data)
    mesh = figure.axes[0].collections[0]
    drawn = np.asarray(mesh.get_array()).reshape(12, 12)
    assert drawn[0].all()
    assert not drawn[1:].any()
    assert not figure.axes[0].yaxis_inverted()
    assert [ax.get_title() for ax in figure.axes] == ["SMALL", "MEDIUM", "LAYER", "LARGE"]
