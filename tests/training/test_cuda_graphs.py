"""Masked passes, as a GPU records them, against sliced passes; recordings themselves if there is a GPU."""

import copy
import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training.cuda_graphs import N_LENGTHS, GraphedPasses
from nasbench.training.strategies import FINE_TUNING_STEP, STRATEGIES, Pass, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

MODELS = {model.name: model for model in (TINY_BERT, TINY_ROBERTA)}
TASKS = {task.name: task for task in (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)}
FINE_TUNING = TrainingConfiguration(learning_rate=1e-4, batch_size=8, epochs=1, weight_decay=0.1)
N_EXAMPLES = 8


@cache
def _tiny(model="tiny-bert", task="tiny-pair", precision="fp32", dropout=0.0):
    return tiny_network(MODELS[model], TASKS[task], precision, dropout)


def _trainer(tiny, strategy=None, device="cpu", network=None):
    network = network or tiny.network.copy()
    network.model.to(device)
    network.refresh()
    strategy = strategy or TrainingStrategy()
    space = make_space("small", network.dims)

    def schedule(step, n_steps, rng):
        return strategy.step(step, n_steps, space, rng)

    return Trainer(network, tiny.data.train, tiny.task.kind, FINE_TUNING, schedule, strategy, tiny.pad_id, seed=5)


def _graphed(trainer):
    longest = int(trainer._split.lengths.max())
    return GraphedPasses(trainer.network, trainer._kind, trainer._strategy, N_EXAMPLES, longest)


def _gradients(tiny, step, strategy=None, graphed=True, device="cpu", network=None, n_replays=1):
    """Gradients of one step by parameter name; those of the active word vectors under 'words'."""
    trainer = _trainer(tiny, strategy, device, network)
    passes = _graphed(trainer) if graphed else None
    length = int(tiny.data.train.lengths[: N_EXAMPLES * tiny.data.train.n_choices].max())
    batch = tiny.batch(N_EXAMPLES, tiny.data.train, passes.padded_length(length) if passes else None).to(
        trainer.network.device
    )
    for _ in range(n_replays):  # the gradients of the last replay are returned
        for parameter in trainer._parameters:
            parameter.grad.zero_()
        if passes is not None:
            passes.record(batch, step)
        trainer._accumulate_gradients(batch, step, passes)
    found = {n: p.grad.cpu() for n, p in trainer.network.model.named_parameters() if p.grad is not None}
    return {**found, "words": trainer._vocabulary.rows.grad.cpu()}


def _assert_close(found, expected, atol=2e-6):
    assert found.keys() == expected.keys()
    atol *= max(1.0, *(float(gradient.abs().max()) for gradient in expected.values()))
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_of_masked_passes_equal_those_of_sliced_passes(model, task, strategy):
    tiny, strategy = _tiny(model, task), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = _gradients(tiny, step, strategy, graphed=False)
        _assert_close(_gradients(tiny, step, strategy, n_replays=2), expected)


def test_gradients_with_each_block_missing():
    tiny, dims = _tiny(), _tiny().network.dims
    for i in range(dims.n_layers):
        heads, units = np.ones((dims.n_layers, dims.n_heads), bool), np.ones((dims.n_layers, dims.n_units), bool)
        heads[i] = False
        units[(i + 1) % dims.n_layers] = False
        step = Step((Pass(SubNetwork(heads, units)),))
        found = _gradients(tiny, step)
        _assert_close(found, _gradients(tiny, step, graphed=False))
        assert not found[f"bert.encoder.layer.{i}.attention.output.LayerNorm.weight"].any()


def test_gradients_of_an_extracted_network():
    tiny = _tiny()
    heads, units = tiny.network.subnetwork.heads.copy(), tiny.network.subnetwork.units.copy()
    heads[0], heads[1, 2:], units[2], units[0, 5:] = False, False, False, False
    network = tiny.network.extract(SubNetwork(heads, units))
    expected = _gradients(tiny, FINE_TUNING_STEP, graphed=False, network=network.copy())
    _assert_close(_gradients(tiny, FINE_TUNING_STEP, network=network.copy()), expected)


def test_gradients_in_bf16_agree_up_to_rounding():
    tiny = _tiny(precision="bf16")
    step = TrainingStrategy().step(5, 10, make_space("small", tiny.network.dims), np.random.default_rng(1))
    found, expected = _gradients(tiny, step), _gradients(tiny, step, graphed=False)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 0.05 * gradient.norm() + 1e-3, name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_with_recorded_passes_equals_training_with_slices(strategy):
    tiny, strategy = _tiny(), TrainingStrategy(strategy)
    sliced, graphed = _trainer(tiny, strategy), _trainer(tiny, strategy)
    graphed._graphed = _graphed(graphed)
    assert len(tiny.data.train) % N_EXAMPLES != 0  # so that the last batch is not covered
    sliced.run()
    graphed.run()
    found, start = dict(graphed.network.model.named_parameters()), dict(tiny.network.model.named_parameters())
    for name, expected in sliced.network.model.named_parameters():
        # AdamW amplifies rounding noise in gradients that are 0 in theory.
        if "embeddings" in name or "classifier" in name:
            torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")
            assert (expected - start[name]).abs().max() > 1e-5


@pytest.mark.parametrize("longest", [5, 8, 60, 128, 250, 300, 512])
def test_every_batch_is_padded_to_one_of_a_few_lengths(longest):
    network = _tiny().network
    passes = GraphedPasses(network, "classification", TrainingStrategy(), N_EXAMPLES, longest)
    lengths = range(1, longest + 1)
    padded = [passes.padded_length(length) for length in lengths]
    assert all(length <= to <= longest for length, to in zip(lengths, padded, strict=True))
    assert len(set(padded)) <= N_LENGTHS
    assert all(to % 8 == 0 for to in padded if to != longest)
    assert passes.covers(N_EXAMPLES)
    assert not passes.covers(N_EXAMPLES - 1)


def test_each_pass_is_recorded_once(monkeypatch):
    tiny, recorded = _tiny(), []
    monkeypatch.setattr(GraphedPasses, "_recorded", lambda _, work: recorded.append(work) or work)
    trainer = _trainer(tiny)
    trainer._graphed = _graphed(trainer)
    lengths = {trainer._graphed.padded_length(int(length)) for length in tiny.data.train.lengths}
    trainer.run()
    # The full network learns from labels, the others also from the full network.
    assert 2 <= len(recorded) <= 2 * len(lengths)
    n = len(recorded)
    trainer._order, trainer.step = (-1, []), 0
    trainer.run()
    assert len(recorded) == n


def test_no_operation_of_a_pass_depends_on_a_value():
    """Tensors on the meta device have no values: an operation that reads a value raises."""
    tiny = _tiny(precision="bf16", dropout=0.1)
    model = copy.deepcopy(tiny.network.model).to("meta")
    network = SuperNetwork(model, "bf16")
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    model.train()
    passes = GraphedPasses(network, "classification", TrainingStrategy("kd"), N_EXAMPLES, 64)
    batch = tiny.batch(N_EXAMPLES, tiny.data.train, 16)
    batch = dataclasses.replace(batch, input_ids=batch.input_ids.to("meta"), labels=batch.labels.to("meta"))
    subnetwork = make_space("small", network.dims).to_subnetwork(np.array([2, 20, 2]))
    step = Step((Pass(subnetwork), Pass(subnetwork, distilled=True)), frozen_teacher=True)
    passes.record(batch, step)
    inputs = passes._inputs[16]
    assert inputs.replay.keys() == {"teaching", "on labels", "distilled"}
    for replay in inputs.replay.values():
        replay()
    with pytest.raises((RuntimeError, NotImplementedError)):
        inputs.logits.sum().item()


def test_training_continues_with_slices_if_recording_fails(monkeypatch):
    tiny = _tiny()
    expected, trainer = _trainer(tiny), _trainer(tiny)
    expected.run(3)

    def refuse(*_):
        raise RuntimeError("CUDA error: operation not permitted\nmore of it")

    monkeypatch.setattr(GraphedPasses, "record", refuse)
    trainer._graphed = _graphed(trainer)
    with pytest.warns(UserWarning, match="without CUDA graphs, more slowly: CUDA error: operation not permitted$"):
        trainer.run(3)
    assert trainer._graphed is None
    for name, value in expected.network.model.state_dict().items():
        torch.testing.assert_close(trainer.network.model.state_dict()[name], value, rtol=0, atol=1e-3)


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_of_replays_equal_those_of_slices(strategy):
    tiny, strategy = _tiny(), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = _gradients(tiny, step, strategy, graphed=False, device="cuda")
        _assert_close(_gradients(tiny, step, strategy, device="cuda", n_replays=3), expected, atol=1e-4)


@pytest.mark.gpu
@gpu
def test_replayed_dropout_depends_only_on_the_seed():
    outcomes = []
    for stops in ([9], [4, 9]):
        trainer = _trainer(_tiny(dropout=0.1), device="cuda")
        assert trainer._graphed is not None
        for stop in stops:  # a new trainer records again but draws the same random numbers
            state = trainer.state()
            trainer = _trainer(_tiny(dropout=0.1), device="cuda")
            trainer.restore(state)
            trainer.run(stop)
        outcomes.append(trainer.network.model.classifier.weight.clone())
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=0, atol=1e-6)
    without = _trainer(_tiny(), device="cuda")
    without.run(9)
    assert (without.network.model.classifier.weight - outcomes[0]).abs().max() > 1e-5
