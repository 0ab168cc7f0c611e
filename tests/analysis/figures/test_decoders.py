"""Panels of language modelling in figures 8, 10 and contest: entries of their own, named by their algorithms."""

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import DECODER_ENTRIES
from nasbench.analysis.figures import contest, method_fronts
from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.figures.paper import figure_8, figure_10
from nasbench.analysis.reading.results import Results, read_results

MODEL = "smollm2-135m-q4_1"
RANDOM = {"method": {"strategy": "random"}}
DECODERS = [
    Entry("shortgpt", None, "layer"),
    *(Entry(name, None, "large") for name in ("wanda-sp", "flap", "magnitude", "rfp")),
    Entry("ws-nas", "random", "medium"),
    Entry("ws-nas-ordered", "ehvi-exact", "large", options=RANDOM, changed_options=True),
]
NOT_SHOWN = [
    Entry("ws-nas", "ehvi"),
    Entry("head-pruning", None, "large"),
    Entry("ws-nas-ordered", "ehvi-exact", "large", options={"method": {"strategy": "full"}}),
]
NAMES = {"ShortGPT", "Wanda-sp", "FLAP", "magnitude", "RFP", "WS-NAS (RS)", "WS-NAS-ordered"}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("results")
    text = {"tasks": ["wikitext2"], "models": [MODEL], "track": "decoder"}
    write_results(folder, Plan([*DECODERS, *NOT_SHOWN], seeds=range(2), n_evaluations=12, **text))
    # The same decoder on a classification: the entries of the paper.
    on_glue = [Entry("rfp", None, "large"), Entry("ws-nas", "ehvi"), *DECODERS[:2]]
    write_results(folder, Plan(on_glue, ["rte"], [MODEL], range(2), n_evaluations=12, track="decoder"))
    found = read_results(folder)
    assert set(DECODER_ENTRIES) < set(found.runs["entry"])
    return found


@pytest.mark.parametrize("figure", [figure_8, figure_10])
def test_panel_of_a_language_model_has_its_own_entries(results, figure):
    data = figure.data(results)
    shown = data.groupby("task")["algorithm"].agg(lambda names: set(map(str, names)))
    assert shown["wikitext2"] == {entry.partition("@")[0] for entry in DECODER_ENTRIES}
    assert shown["rte"] == {"rfp", "ws-nas/ehvi"}
    if figure is figure_8:  # a run of another entry of ws-nas-ordered is not among the two seeds
        assert data.loc[(data["task"] == "wikitext2") & (data["threshold"] == 0.9), "n"].tolist() == [2] * 7
    drawn = figure.draw(data)
    labels = {text.get_text() for text in drawn.legends[0].get_texts()}
    assert labels - {"full network"} == NAMES | {"WS-NAS (EHVI)"}
    assert "SmolLM2-135M Q4_1" in {ax.get_title(loc="right") for ax in drawn.axes}


def test_contest_of_a_language_model_has_its_own_entries(results):
    data = contest.data(results)
    shown = data.groupby("task")["name"].agg(set)
    assert shown["wikitext2"] == set(DECODER_ENTRIES)
    assert shown["rte"] == {"rfp@large", "ws-nas/ehvi@small"}
    labels = {text.get_text() for text in contest.draw(data).legends[0].get_texts()}
    assert labels == NAMES | {"WS-NAS (EHVI)"}


def test_figure_of_five_methods_is_not_that_of_decoders(results):
    assert set(method_fronts.data(results)["task"]) == {"rte"}
    assert method_fronts.data(results, f"wikitext2/{MODEL}/gpu")["algorithm"].nunique() == 7


def test_figure_10_shows_what_its_title_says():
    shown = {model for model in ("bert-base-cased", "roberta-base", MODEL) if FIGURES["10"].shows("rte", model)}
    assert shown == {"bert-base-cased", MODEL}
    assert FIGURES["10"].title.endswith("all models but RoBERTa-base")
