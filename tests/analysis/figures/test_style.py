import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from nasbench.analysis.experiments.definitions import DECODER_ENTRIES
from nasbench.analysis.figures import style
from nasbench.plugins import registry
from nasbench.runs.request import choose_space

# Machado, Oliveira and Fernandes (2009), severity 1, applied to linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def cielab(colour, deficiency):
    rgb = np.array(mpl.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(deficiency @ linear, 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / np.array([0.95047, 1, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


FIGURES = {
    "five methods": ["head-pruning", "layer-dropping", "rfp", "s-nas/random", "ws-nas/ehvi"],
    "standard": [f"s-nas/{name}" for name in ("random", "local", "morea", "ehvi", "moasha")],
    "weight-sharing": [f"ws-nas/{name}" for name in ("random", "local", "morea", "ehvi", "nsga2")],
    "tables": [
        *(f"ws-nas/{name}" for name in ("random", "local", "morea", "ehvi", "nsga2", "ehvi-exact")),
        *(f"ws-nas/{name}" for name in ("pymoo:SMSEMOA", "pymoo:NSGA3", "pymoo:MOEAD", "pymoo:AGEMOEA")),
        *(f"ws-nas/{name}" for name in ("optuna:NSGAIISampler", "optuna:TPESampler")),
    ],
    "contest": ["rfp", "ws-nas/ehvi", "ws-nas-ordered/ehvi-exact"],
    "compact models": [
        "head-pruning",
        "layer-dropping",
        "rfp",
        "s-nas/random",
        "ws-nas/ehvi",
        "ws-nas-depth/depth",
        "ws-nas-ordered/ehvi-exact",
        "distillation",
        "low-rank",
    ],
    "decoders": [entry.partition("@")[0] for entry in DECODER_ENTRIES] + ["low-rank"],
    "own": ["ws-nas/random", "ws-nas/ehvi", "ws-nas/ehvi-exact", "ws-nas-depth/depth"],
}


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_of_a_figure_are_distinct_with_any_colour_vision(figure, deficiency):
    colours = [cielab(style.look(name).colour, DEFICIENCIES[deficiency]) for name in FIGURES[figure]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 15


@pytest.mark.parametrize("figure", FIGURES)
def test_markers_of_a_figure_are_distinct(figure):
    markers = [style.look(name).marker for name in FIGURES[figure]]
    assert len(set(markers)) == len(markers)


def test_colours_of_spaces_are_distinct_with_any_colour_vision():
    for deficiency in DEFICIENCIES.values():
        colours = [cielab(colour, deficiency) for colour in style.SPACES.values()]
        assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(colours, 2)) > 15


def test_declared_looks_are_of_methods_of_the_suite_and_unlike_each_other():
    assert {algorithm.partition("/")[0] for algorithm in style.METHODS} <= set(registry.methods())
    looks = [style.look(algorithm) for algorithm in style.METHODS]
    assert len({look.name for look in looks}) == len({look.marker for look in looks}) == len(looks)
    assert len({look.colour for look in looks}) == len(looks)


def test_automatic_looks_are_many_and_none_has_the_colour_and_marker_of_a_declared_one():
    declared = {(look.colour, look.marker) for look in map(style.look, style.METHODS)}
    looks = [style.look(f"mine-{i}") for i in range(2000)]
    assert len({(look.colour, look.marker) for look in looks} - declared) == 46
    assert not {(look.colour, look.marker) for look in looks} & declared
    assert len({look.name for look in looks}) == len(looks)


def test_method_with_a_declared_look_has_it_on_a_language_model():
    task = registry.tasks()["wikitext2"]
    for name in {declared.partition("/")[0] for declared in style.METHODS}:
        method = registry.methods()[name]
        algorithm = f"{name}/{method.default_searcher}" if method.default_searcher else name
        entry = f"{algorithm}@{choose_space(method, task)}"
        found, plain = style.look(entry), style.look(algorithm)
        assert (found.name, found.colour, found.marker) == (plain.name, plain.colour, plain.marker), entry


def test_name_has_medium_only_beside_small():
    small, medium = "ws-nas/random@small", "ws-nas/random@medium"
    assert style.look(medium).name == style.look(medium, ["rfp@large", medium]).name == "WS-NAS (RS)"
    assert style.look(medium, [small, medium]).name == "WS-NAS (RS), MEDIUM"
    assert style.look(small, [small, medium]).name == "WS-NAS (RS)"
    assert style.look(medium).dash != style.look(small).dash
    for other in ("rfp@medium", "mine@medium", "ws-nas/mine@medium", "ws-nas/random@medium [strategy=kd]"):
        assert style.look(other).name == other


def test_every_model_of_the_suite_has_a_name():
    names = {name: style.model_name(name) for name in registry.models()}
    assert [name for name, shown in names.items() if shown == name] == []
    assert len(set(names.values())) == len(names)


def test_nas_methods_share_the_searchers_colour_and_differ_in_line():
    standard, shared = style.look("s-nas/ehvi"), style.look("ws-nas/ehvi")
    assert standard.colour == shared.colour == style.look("ws-nas").colour
    assert (standard.dash, standard.filled, shared.dash, shared.filled) == ("--", False, "-", True)


def test_look_of_an_unknown_method_is_fixed():
    # Literal values: a change would recolour the figures of every plugin author.
    assert style.look("my-plugin") == style.Look("my-plugin", "#661100", "H", ":")
    assert style.look("my-plugin/ehvi") != style.look("ws-nas/ehvi")


@pytest.mark.parametrize(
    "name", ["a$b$", "_hidden", "two\nlines", "x" * 60, "$\\frac{", "<script>alert(1)</script>", ""]
)
def test_any_name_can_be_drawn_and_saved(name, tmp_path):
    with style.applied():
        figure = style.new_figure(style.COLUMN_IN, 2)
        ax = figure.add_subplot()
        ax.plot([0, 1], [0, 1], label=style.look(name).name or "?")
        ax.set_title(style.text(name))
        style.legend_below(figure, [ax])
    style.save(figure, tmp_path / "name")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [style.look(name).name or "?"]


@pytest.mark.parametrize(("n_names", "n_columns"), [(1, 1), (5, 5), (6, 3), (9, 5), (11, 4)])
def test_rows_of_a_legend_have_nearly_equal_lengths(n_names, n_columns):
    with style.applied():
        figure = style.new_figure(style.PAGE_IN, 2)
        ax = figure.add_subplot()
        for i in range(n_names):
            ax.plot([0, 1], [0, i], label=f"name {i}")
        style.legend_below(figure, [ax])
    assert figure.legends[0]._ncols == n_columns


def test_applied_restores_matplotlib_settings():
    before = dict(mpl.rcParams)
    with style.applied():
        assert mpl.rcParams["font.size"] == 7.5
    assert dict(mpl.rcParams) == before


def test_equal_figures_are_saved_as_equal_bytes(tmp_path):
    def drawn():
        with style.applied():
            figure = style.new_figure(2, 2)
            ax = figure.add_subplot()
            ax.plot([0, 1], [1, 0], "o-")
            ax.fill_between([0, 1], [0, 0], [1, 2], alpha=0.2, clip_on=True)
        return figure

    first = style.save(drawn(), tmp_path / "first")
    second = style.save(drawn(), tmp_path / "second")
    assert [path.name for path in first] == ["first.svg", "first.pdf", "first.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def scenarios(*triples):
    rows = [(f"{task}/{model}/{device}", task, model, device) for task, model, device in triples]
    return pd.DataFrame(rows, columns=["scenario", "task", "model", "device_class"])


def test_panels_are_sorted_by_model_then_task_size_with_unknown_names_last():
    frame = scenarios(
        ("zeta", "roberta-base", "gpu"),
        ("qnli", "roberta-base", "gpu"),
        ("rte", "roberta-base", "gpu"),
        ("sst2", "my-model", "gpu"),
        ("mrpc", "bert-base-cased", "gpu"),
        ("mrpc", "bert-base-cased", "gpu"),
    )
    assert [(title.task, title.model) for title in style.panel_titles(frame).values()] == [
        ("MRPC", "BERT-base"),
        ("RTE", "RoBERTa-base"),
        ("QNLI", "RoBERTa-base"),
        ("zeta", "RoBERTa-base"),
        ("SST-2", "my-model"),
    ]


def test_panel_titles_name_the_device_class_only_if_needed():
    frame = scenarios(("rte", "minilm-l6", "gpu"), ("rte", "minilm-l6", "cpu"))
    assert style.panel_titles(frame) == {
        "rte/minilm-l6/cpu": style.PanelTitle("RTE", "MiniLM-L6, CPU"),
        "rte/minilm-l6/gpu": style.PanelTitle("RTE", "MiniLM-L6, GPU"),
    }
    frame = scenarios(("rte", "minilm-l6", "table-1a"), ("rte", "minilm-l6", "table-2b"))
    assert [title.model for title in style.panel_titles(frame).values()] == [
        "MiniLM-L6, TABLE-1A",
        "MiniLM-L6, TABLE-2B",
    ]


@pytest.mark.parametrize("algorithm", ["ws-nas/ehvi", "s-nas/random"])
def test_entry_has_the_look_of_its_algorithm_in_its_usual_space_only(algorithm):
    assert style.look(f"{algorithm}@small") == style.look(algorithm)
    for other in (f"{algorithm}@large", f"{algorithm}@small [strategy=kd]"):
        assert style.look(other) != style.look(algorithm)
        assert style.look(other).name == other
    assert style.look("rfp@large") == style.look("rfp")


@pytest.mark.parametrize(
    ("n", "per_row", "shape"),
    [(1, 4, (1, 1)), (3, 4, (1, 3)), (4, 4, (1, 4)), (5, 4, (2, 3)), (16, 4, (4, 4)), (4, 3, (2, 2)), (7, 3, (3, 3))],
)
def test_panels_are_arranged_in_rows_of_nearly_equal_length(n, per_row, shape):
    with style.applied():
        figure, axes = style.panels(n, per_row=per_row)
    assert len(axes) == len(figure.axes) == n
    assert axes[0].get_gridspec().get_geometry() == shape


def test_label_bottom_labels_the_lowest_panel_of_each_column():
    with style.applied():
        _, axes = style.panels(5)
        style.label_bottom(axes, "time")
    assert [ax.get_xlabel() for ax in axes] == ["", "", "time", "time", "time"]
