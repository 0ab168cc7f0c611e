"""Passes under masks, as a GPU records them, against passes as slices; recording itself where there is a GPU."""

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


def _trainer(tiny, how=None, device="cpu", network=None, plan=None):
    network = network or tiny.network.copy()
    network.model.to(device)
    network.refresh()
    how = how or TrainingStrategy()
    space = make_space("small", network.dims)

    def planned(step, n_steps, rng):
        return plan or how.step(step, n_steps, space, rng)

    return Trainer(network, tiny.data.train, tiny.task.kind, FINE_TUNING, planned, how, tiny.pad_id, seed=5)


def _graphed(trainer, how=None):
    longest = int(trainer._split.lengths.max())
    return GraphedPasses(trainer.network, trainer._kind, how or trainer._strategy, N_EXAMPLES, longest)


def _gradients(tiny, step, how=None, graphed=True, device="cpu", network=None, n_replays=1):
    """Gradients of one step by parameter name, that of the active word vectors under 'words'."""
    trainer = _trainer(tiny, how, device, network)
    passes = _graphed(trainer) if graphed else None
    length = int(tiny.data.train.lengths[: N_EXAMPLES * tiny.data.train.n_choices].max())
    batch = tiny.batch(N_EXAMPLES, tiny.data.train, passes.padded_length(length) if passes else None).to(
        trainer.network.device
    )
    for _ in range(n_replays):  # the last one counts
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
def test_gradients_under_masks_are_those_of_slices(model, task, strategy):
    tiny, how = _tiny(model, task), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = how.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = _gradients(tiny, step, how, graphed=False)
        _assert_close(_gradients(tiny, step, how, n_replays=2), expected)


def test_every_block_can_be_absent():
    tiny, dims = _tiny(), _tiny().network.dims
    for i in range(dims.n_layers):
        heads, units = np.ones((dims.n_layers, dims.n_heads), bool), np.ones((dims.n_layers, dims.n_units), bool)
        heads[i] = False
        units[(i + 1) % dims.n_layers] = False
        step = Step((Pass(SubNetwork(heads, units)),))
        found = _gradients(tiny, step)
        _assert_close(found, _gradients(tiny, step, graphed=False))
        assert not found[f"bert.encoder.layer.{i}.attention.output.LayerNorm.weight"].any()


def test_an_extracted_network_needs_no_masks():
    tiny = _tiny()
    heads, units = tiny.network.subnetwork.heads.copy(), tiny.network.subnetwork.units.copy()
    heads[0], heads[1, 2:], units[2], units[0, 5:] = False, False, False, False
    network = tiny.network.extract(SubNetwork(heads, units))
    expected = _gradients(tiny, FINE_TUNING_STEP, graphed=False, network=network.copy())
    _assert_close(_gradients(tiny, FINE_TUNING_STEP, network=network.copy()), expected)


def test_low_precision_agrees_to_its_rounding():
    tiny = _tiny(precision="bf16")
    step = TrainingStrategy().step(5, 10, make_space("small", tiny.network.dims), np.random.default_rng(1))
    found, expected = _gradients(tiny, step), _gradients(tiny, step, graphed=False)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() <= 0.05 * gradient.norm() + 1e-3, name


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_training_of_recorded_passes_is_the_training_of_slices(strategy):
    tiny, how = _tiny(), TrainingStrategy(strategy)
    sliced, graphed = _trainer(tiny, how), _trainer(tiny, how)
    graphed._graphed = _graphed(graphed)
    assert len(tiny.data.train) % N_EXAMPLES != 0  # so that the last batch is not covered
    sliced.run()
    graphed.run()
    found, start = dict(graphed.network.model.named_parameters()), dict(tiny.network.model.named_parameters())
    for name, expected in sliced.network.model.named_parameters():
        # AdamW blows up rounding noise in gradients that are 0 in theory.
        if "embeddings" in name or "classifier" in name:
            torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")
            assert (expected - start[name]).abs().max() > 1e-5


@pytest.mark.parametrize("longest", [5, 8, 60, 128, 250, 300, 512])
def test_few_lengths_hold_every_batch(longest):
    network = _tiny().network
    passes = GraphedPasses(network, "classification", TrainingStrategy(), N_EXAMPLES, longest)
    lengths = range(1, longest + 1)
    padded = [passes.padded_length(length) for length in lengths]
    assert all(length <= to <= longest for length, to in zip(lengths, padded, strict=True))
    assert len(set(padded)) <= N_LENGTHS
    assert all(to % 8 == 0 for to in padded if to != longest)
    assert passes.covers(N_EXAMPLES)
    assert not passes.covers(N_EXAMPLES - 1)


def test_a_step_records_nothing_that_an_earlier_one_did(monkeypatch):
    tiny, recorded = _tiny(), []
    monkeypatch.setattr(GraphedPasses, "_recorded", lambda _, work: recorded.append(work) or work)
    trainer = _trainer(tiny)
    trainer._graphed = _graphed(trainer)
    lengths = {trainer._graphed.padded_length(int(length)) for length in tiny.data.train.lengths}
    trainer.run()
    # The full network learns from labels, the others from it too.
    assert 2 <= len(recorded) <= 2 * len(lengths)
    n = len(recorded)
    trainer._order, trainer.step = (-1, []), 0
    trainer.run()
    assert len(recorded) == n


def test_nothing_in_a_pass_depends_on_a_value():
    """Tensors on the meta device have no values: asking for one, as waiting for a device would, raises."""
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


def test_a_device_that_cannot_record_trains_on_with_slices(monkeypatch):
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
def test_replays_give_the_gradients_of_slices(strategy):
    tiny, how = _tiny(), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = how.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = _gradients(tiny, step, how, graphed=False, device="cuda")
        _assert_close(_gradients(tiny, step, how, device="cuda", n_replays=3), expected, atol=1e-4)


@pytest.mark.gpu
@gpu
def test_replayed_dropout_depends_on_the_seed_alone():
    outcomes = []
    for stops in ([9], [4, 9]):
        trainer = _trainer(_tiny(dropout=0.1), device="cuda")
        assert trainer._graphed is not None
        for stop in stops:  # a new trainer records again; the random numbers are the same
            state = trainer.state()
            trainer = _trainer(_tiny(dropout=0.1), device="cuda")
            trainer.restore(state)
            trainer.run(stop)
        outcomes.append(trainer.network.model.classifier.weight.clone())
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=0, atol=1e-6)
    without = _trainer(_tiny(), device="cuda")
    without.run(9)
    assert (without.network.model.classifier.weight - outcomes[0]).abs().max() > 1e-5
