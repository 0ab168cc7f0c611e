"""Claims about decoders: the front of weight-sharing NAS against those of rivals, and where which claims are shown."""

from pathlib import Path

import numpy as np
import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.experiments.definitions import DECODER_ENTRIES
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.claims import claims
from nasbench.analysis.report.paper_claims import RIVALS, check_claims
from nasbench.analysis.report.results_page import page
from nasbench.analysis.scoring.quantiles import Quantiles, ScenarioQuantiles

MODEL = "smollm2-135m-q4_1"
SCENARIO = f"wikitext2/{MODEL}/cpu"
AS_IT_IS = Quantiles(
    {SCENARIO: ScenarioQuantiles({name: np.array([0.0, 1.0]) for name in ("error", "params")}, "1", 0, 0)}, version=1
)
"""A normaliser that leaves values between 0 and 1 as they are."""
RANDOM = {"method": {"strategy": "random"}}
ON_TEXT = {"tasks": ["wikitext2"], "models": [MODEL], "track": "decoder", "device_class": "cpu"}


def texts(folder: Path) -> list[str]:
    return [result.claim.text for result in check_claims(read_results(folder), Quantiles())]


@pytest.fixture
def write_text(tmp_path, write_run):
    """Writes a run on WikiText-2 whose only network has the given validation and test error, and half of the size."""

    def write(method, searcher, space, error, test_error, seed, **changes):
        changes |= {"task": "wikitext2", "model": MODEL, "device_class": "cpu", "track": "decoder"}
        write_run(tmp_path, method, searcher, space, [(0.5, error, test_error)], seed=seed, **changes)

    return write


def test_better_of_the_two_by_validation_is_compared_by_test_hypervolume(tmp_path, write_text):
    for seed in range(3):
        write_text("ws-nas", "random", "medium", 0.3, 0.5, seed)
        # Better by test error, and in the first two blocks worse by validation error.
        ordered = 0.4 if seed < 2 else 0.2
        write_text("ws-nas-ordered", "ehvi-exact", "large", ordered, 0.1, seed, options=RANDOM, changed_options=RANDOM)
        write_text("shortgpt", None, "layer", 0.6, 0.6, seed)
        write_text("wanda-sp", None, "large", 0.05, 0.05, seed)
        # Neither is an entry of the comparison, however good.
        write_text("s-nas", "random", "medium", 0.01, 0.01, seed)
        write_text("ws-nas", "random", "small", 0.01, 0.01, seed)
    assert set(DECODER_ENTRIES) >= {"shortgpt@layer", "ws-nas-ordered/ehvi-exact@large [method.strategy=random]"}
    shortgpt, wanda, flap = check_claims(read_results(tmp_path), AS_IT_IS)
    # One network of half the size and error e has the hypervolume 1.5 (2 - e).
    assert shortgpt.difference == pytest.approx(1.5 * np.mean([0.6 - 0.5, 0.6 - 0.5, 0.6 - 0.1]))
    assert wanda.difference == pytest.approx(1.5 * np.mean([0.05 - 0.5, 0.05 - 0.5, 0.05 - 0.1]))
    assert (shortgpt.n, shortgpt.n_tasks, shortgpt.claim.is_general) == (3, 1, False)
    assert (flap.verdict, flap.n) == ("not run", 0)


@pytest.mark.parametrize(("shift", "verdict"), [(-0.05, "confirmed"), (0.05, "refuted")])
def test_seeds_on_the_one_task_decide(tmp_path: Path, shift: float, verdict: str) -> None:
    rivals = [Entry("shortgpt", None, "layer"), Entry("wanda-sp", None, "large"), Entry("flap", None, "large")]
    plan = Plan([Entry("ws-nas", "random", "medium", shift), *rivals], seeds=range(3), noise=0.001, **ON_TEXT)
    write_results(tmp_path, plan)
    found = check_claims(read_results(tmp_path), Quantiles())
    assert [result.verdict for result in found] == [verdict] * 3
    assert [result.claim.text.endswith(name) for result, name in zip(found, RIVALS.values(), strict=True)] == [True] * 3


def test_each_section_has_the_claims_that_are_about_its_tasks(tmp_path: Path) -> None:
    text, glue = tmp_path / "text", tmp_path / "glue"
    write_results(text, Plan([Entry("shortgpt", None, "layer")], seeds=[0], n_evaluations=5, **ON_TEXT))
    write_results(glue, Plan([Entry("rfp", None, "large")], seeds=[0], n_evaluations=5, track="decoder"))
    on_text, on_glue = texts(text), texts(glue)
    assert len(on_text) == len(RIVALS)
    assert not any("WikiText" in claim for claim in on_glue)
    printed = claims(text, Quantiles())
    assert "Decoders, CPU" in printed
    assert "needs: nasbench sweep" in printed
    assert "nasbench experiment" not in printed
    assert "## Claims: Decoders, CPU" in page(text, Quantiles())
    # Decoders can be pruned on both kinds of tasks; one section then has the claims about both.
    write_results(text, Plan([Entry("rfp", None, "large")], ["rte"], [MODEL], [0], 5, track="decoder"))
    assert sorted(texts(text)) == sorted([*on_text, *on_glue])
    assert "## Claims of the paper: Decoders, GPU" in page(text, Quantiles())
