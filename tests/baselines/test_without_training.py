"""ShortGPT and Wanda-sp: scores against hooks on the stock model, and the order in which parts are removed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.activations import seen
from support.baselines import SCENES, complete_run
from torch.nn import functional

from nasbench.baselines.low_rank import LowRank, LowRankOptions
from nasbench.baselines.magnitude import MagnitudeOptions, MagnitudePruning
from nasbench.baselines.masks.calibration import CalibrationOptions
from nasbench.baselines.shortgpt import ShortGPT, block_influence
from nasbench.baselines.wanda_sp import RATIOS, WandaSp, scores
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.networks import tiny_network
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_TEXT


@SCENES
def test_block_influence_is_that_of_the_stock_model(model: Any, task: Any) -> None:
    tiny = tiny_network(model, task)
    layers = list(tiny.network.adapter.layers)
    before, after = seen(tiny, layers, is_input=True), seen(tiny, layers, is_input=False)
    expected = [
        1 - float(functional.cosine_similarity(a, b, dim=-1).mean()) for a, b in zip(before, after, strict=True)
    ]
    found = block_influence(tiny.network, [tiny.batch(6), tiny.batch()])
    one = block_influence(tiny.network, [tiny.batch()])
    np.testing.assert_allclose(one, expected, rtol=1e-4)
    assert not np.allclose(found, one)


@SCENES
def test_scores_are_weights_times_norms_of_the_stock_models_activations(model: Any, task: Any) -> None:
    tiny = tiny_network(model, task)
    network, width = tiny.network, tiny.network.dims.head_width
    heads, units = scores(network, [tiny.batch()])
    for kind, found in (("attention", heads), ("feed_forward", units)):
        blocks: Any = [getattr(network.adapter, kind)(i) for i in range(3)]
        inputs = seen(tiny, [block.output.module for block in blocks], is_input=True)
        for i, block in enumerate(blocks):
            stored = block.output.module.weight.detach().double()
            weight = stored.t() if model is TINY_GPT2 else stored
            columns = (weight.abs() * inputs[i].norm(dim=0)).sum(0)
            size = width if kind == "attention" else 1
            np.testing.assert_allclose(found[i], columns.view(-1, size).sum(1).numpy(), rtol=1e-4)


def test_shortgpt_removes_layers_one_after_the_other(tmp_path: Path) -> None:
    record, evaluations, _ = complete_run(ShortGPT, tmp_path, n_calibration=9)
    kept = [np.array(e.head_counts) > 0 for e in evaluations]
    assert [int(mask.sum()) for mask in kept] == [3, 2, 1]
    assert all((later <= earlier).all() for earlier, later in itertools.pairwise(kept))
    assert evaluations[0].weights == "network"
    assert record.changed_options["method"]["n_calibration"] == 9


def test_wanda_sp_removes_the_same_share_of_every_layer(tmp_path: Path) -> None:
    _, evaluations, _ = complete_run(WandaSp, tmp_path)
    assert len(evaluations) == 1 + len(RATIOS)
    for ratio, evaluation in zip(RATIOS, evaluations[1:], strict=True):
        assert evaluation.head_counts == [4 - int(4 * ratio)] * 3
        assert evaluation.unit_counts == [48 - int(48 * ratio)] * 3


def test_language_model_is_trained_only_if_epochs_say_so(tmp_path: Path) -> None:
    _, evaluations, _ = complete_run(ShortGPT, tmp_path, epochs=1)
    assert evaluations[0].weights == "fine-tuned"


@pytest.mark.parametrize(
    ("method", "options", "is_refused"),
    [
        (ShortGPT, CalibrationOptions(learning_rate=1e-4), True),
        (WandaSp, CalibrationOptions(n_calibration=8), False),
        (LowRank, LowRankOptions(batch_size=8), True),
        (LowRank, LowRankOptions(batch_size=8, tuning_epochs=1), False),
        (MagnitudePruning, MagnitudeOptions(warmup=0.1), True),
        (MagnitudePruning, MagnitudeOptions(warmup=0.1, then="training"), False),
    ],
)
def test_options_of_a_training_that_does_not_take_place_are_refused(
    method: Any, options: Any, is_refused: bool, tmp_path: Path
) -> None:
    subject = MethodSubject(method, tmp_path, options=options, task=TINY_TEXT, model=TINY_LLAMA, n_evaluations=2)
    record = subject.run().record
    assert record.status == ("failed" if is_refused else "complete")
    assert (record.reason or "").startswith("nothing is trained, so " if is_refused else "")


def test_calibration_needs_an_example() -> None:
    with pytest.raises(ValueError, match="n_calibration must be 1 or more, not 0"):
        CalibrationOptions(n_calibration=0)
