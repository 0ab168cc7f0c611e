"""Masked passes, as a GPU records them, against sliced passes; recordings themselves if there is a GPU."""

import copy
import dataclasses
import warnings

import numpy as np
import pytest
import torch
from support.launches import launches
from support.steps import (
    MODELS,
    N_EXAMPLES,
    TASKS,
    assert_close,
    flat,
    gradients_of,
    make_graphed,
    make_trainer,
    tiny_of,
)

from nasbench.networks.attention import Noise
from nasbench.networks.passes.batched import BatchedEncoder, Masks
from nasbench.networks.space import SPACES, make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.cuda_graphs import N_LENGTHS, GraphedPasses
from nasbench.training.strategies import FINE_TUNING_STEP, STRATEGIES, Pass, Step, TrainingStrategy


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_of_batched_passes_equal_those_of_sliced_passes(task, strategy):
    tiny, strategy = tiny_of(task=task), TrainingStrategy(strategy, temperature=2.0)
    for space in SPACES:
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = gradients_of(tiny, step, strategy, graphed=False)
        assert_close(gradients_of(tiny, step, strategy, n_replays=2), expected)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_gradients_of_batched_passes_equal_those_of_sliced_passes_of_each_architecture(model):
    strategy = TrainingStrategy("full", temperature=2.0)
    for i, space in enumerate(("small", "medium", "layer", "large")):
        tiny = tiny_of(model, "tiny-choice" if space == "layer" else "tiny-pair")
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(i))
        expected = gradients_of(tiny, step, strategy, graphed=False)
        assert_close(gradients_of(tiny, step, strategy), expected)


@pytest.mark.parametrize("strategy", ["sandwich", "kd", "full"])
@pytest.mark.parametrize("n_at_once", [1, 2, 3])
def test_gradients_do_not_depend_on_how_many_passes_run_at_once(strategy, n_at_once):
    tiny, strategy = tiny_of(), TrainingStrategy(strategy, temperature=2.0)
    step = strategy.step(5, 10, make_space("large", tiny.network.dims), np.random.default_rng(1))
    expected = gradients_of(tiny, step, strategy, graphed=False)
    assert_close(gradients_of(tiny, step, strategy, n_at_once=n_at_once), expected)


@pytest.mark.parametrize(("n_fit", "n_at_once"), [(4, None), (3, 2), (2, 2), (1, 1)])
def test_passes_are_recorded_in_smaller_groups_where_memory_ends(monkeypatch, n_fit, n_at_once):
    tiny = tiny_of()
    expected, trainer = make_trainer(tiny), make_trainer(tiny)
    trainer._graphed = make_graphed(trainer)
    run = GraphedPasses._run

    def in_little_memory(self, inputs, group, masks):
        if len(group.roles) > n_fit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        run(self, inputs, group, masks)

    def record_at_once(self, work):
        work()
        self._clear_gradients()
        return work

    monkeypatch.setattr(GraphedPasses, "_run", in_little_memory)
    monkeypatch.setattr(GraphedPasses, "_recorded", record_at_once)
    expected.run(3)
    trainer.run(3)
    assert trainer._graphed.n_at_once == n_at_once
    for name, value in expected.network.model.state_dict().items():
        torch.testing.assert_close(trainer.network.model.state_dict()[name], value, rtol=0, atol=1e-3)
    resumed = make_trainer(tiny)
    resumed._graphed = make_graphed(resumed)
    resumed.restore(trainer.state())
    assert resumed._graphed.n_at_once == n_at_once


def test_training_goes_on_with_slices_where_one_pass_does_not_fit(monkeypatch):
    def refuse(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(GraphedPasses, "_recorded", refuse)
    trainer = make_trainer(tiny_of())
    trainer._graphed = make_graphed(trainer)
    with pytest.warns(UserWarning, match="without CUDA graphs, more slowly: CUDA out of memory"):
        trainer.run(2)
    assert trainer._graphed is None


def test_gradients_with_each_block_missing():
    tiny, dims = tiny_of(), tiny_of().network.dims
    for i in range(dims.n_layers):
        heads, units = np.ones((dims.n_layers, dims.n_heads), bool), np.ones((dims.n_layers, dims.n_units), bool)
        heads[i] = False
        units[(i + 1) % dims.n_layers] = False
        step = Step((Pass(SubNetwork(heads, units)),))
        found = gradients_of(tiny, step)
        assert_close(found, gradients_of(tiny, step, graphed=False))
        assert not found[f"bert.encoder.layer.{i}.attention.output.LayerNorm.weight"].any()


def test_gradients_of_an_extracted_network():
    tiny = tiny_of()
    heads, units = tiny.network.subnetwork.heads.copy(), tiny.network.subnetwork.units.copy()
    heads[0], heads[1, 2:], units[2], units[0, 5:] = False, False, False, False
    network = tiny.network.extract(SubNetwork(heads, units))
    expected = gradients_of(tiny, FINE_TUNING_STEP, graphed=False, network=network.copy())
    assert_close(gradients_of(tiny, FINE_TUNING_STEP, network=network.copy()), expected)


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_in_bf16_are_as_exact_as_those_of_slices(task, strategy):
    """Against fp32, over a step in each space: a single gradient may be near 0, or its error small by chance."""
    exact, rounded = tiny_of(task=task), tiny_of(task=task, precision="bf16")
    strategy = TrainingStrategy(strategy, temperature=2.0)
    steps = [strategy.step(5, 10, make_space(space, exact.network.dims), np.random.default_rng(1)) for space in SPACES]
    reference = torch.stack([flat(gradients_of(exact, step, strategy, graphed=False)) for step in steps]).double()
    sliced = torch.stack([flat(gradients_of(rounded, step, strategy, graphed=False)) for step in steps]).double()
    batched = torch.stack([flat(gradients_of(rounded, step, strategy)) for step in steps]).double()
    error = (batched - reference).norm()
    assert 0 < error <= 1.25 * (sliced - reference).norm()
    assert error <= 0.1 * reference.norm()


def test_a_position_bias_is_laid_out_for_fused_attention():
    """A GPU computes attention with a bias in one kernel only if its rows have no gaps."""
    network = tiny_of("tiny-mpnet").network
    heads, units = network.subnetwork.heads.copy(), network.subnetwork.units
    heads[:, 1] = False
    extracted = network.extract(SubNetwork(heads, units))
    whole, part = network.adapter.position_bias(0, 16), extracted.adapter.position_bias(0, 16)
    assert whole.is_contiguous()
    assert part.is_contiguous()
    torch.testing.assert_close(part, whole[[0, 2, 3]], rtol=0, atol=0)


def test_every_pass_of_a_batch_has_its_own_dropout():
    """With all blocks skipped, the outputs are the embeddings after dropout."""
    tiny, n_passes, rate = tiny_of(dropout=0.1), 4, 0.1
    network = tiny.network.copy()
    network.noise = Noise(0)
    batch = tiny.batch(N_EXAMPLES, tiny.data.train)
    none = torch.zeros(n_passes, network.dims.n_layers, 1, dtype=torch.bool)
    masks = Masks(none.expand(-1, -1, network.dims.n_heads), none.expand(-1, -1, network.dims.n_units))
    with torch.no_grad():
        embedded = network.embed(batch)
        draws = torch.stack(
            [BatchedEncoder(network).encode(embedded, batch.attention_mask, masks, n_passes) for _ in range(50)]
        )
    first = embedded[:, 0]
    kept = draws != 0
    torch.testing.assert_close(draws[kept], (first.expand_as(draws) / (1 - rate))[kept], rtol=1e-4, atol=1e-6)
    assert abs(kept.float().mean() - (1 - rate)) < 0.005  # 50 * 4 * 8 * 32 draws: standard deviation 0.0013
    agreement = (kept[:, 0] == kept[:, 1]).float().mean()  # of independent draws: 0.9^2 + 0.1^2
    assert abs(agreement - 0.82) < 0.01


@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_mean_outputs_under_dropout_equal_those_of_slices(rate):
    """Of 400 draws of sliced and of batched passes, the means of the logits are equal up to their standard errors."""
    tiny = tiny_of(dropout=rate)
    network, n_passes = tiny.network.copy(), 50
    network.noise = Noise(0)
    batch = tiny.batch(4, tiny.data.train)
    subnetwork = make_space("large", network.dims).to_subnetwork(make_space("large", network.dims).midpoint)
    masks = Masks(*(torch.from_numpy(np.stack([mask] * n_passes)) for mask in (subnetwork.heads, subnetwork.units)))
    slices = network.slices(subnetwork)
    with torch.no_grad():
        embedded, encoder = network.embed(batch), BatchedEncoder(network)
        is_token = torch.ones_like(batch.input_ids, dtype=torch.bool)
        is_token = is_token if batch.attention_mask is None else batch.attention_mask
        batched = torch.cat([encoder.encode(embedded, is_token, masks, n_passes) for _ in range(8)])
        sliced = torch.stack([network.encode(embedded, batch.attention_mask, slices) for _ in range(400)])
    difference = batched.mean(0) - sliced.mean(0)
    standard_error = (batched.var(0) / len(batched) + sliced.var(0) / len(sliced)).sqrt()
    z = difference / standard_error
    assert z.abs().max() < 5
    assert 0.8 < z.pow(2).mean() < 1.25  # 128 values
    assert 0.8 < (batched.var(0).mean() / sliced.var(0).mean()) < 1.25


def test_a_full_step_of_twelve_layers_is_at_most_1300_launches():
    """Launches are linear in the number of layers, so two depths give those of BERT-base."""
    n_launches = {}
    for n_layers in (1, 3):
        network = tiny_of(dropout=0.1).network.copy()
        network.model.bert.encoder.layer = network.model.bert.encoder.layer[:n_layers]
        network = SuperNetwork(network.model.train(), "bf16")
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        passes = GraphedPasses(network, "classification", TrainingStrategy("full"), N_EXAMPLES, 16)
        batch = tiny_of().batch(N_EXAMPLES, tiny_of().data.train, 16)
        step = TrainingStrategy("full").step(0, 1, make_space("small", network.dims), np.random.default_rng(0))
        passes.record(batch, step)
        (recording,) = passes._inputs[16].recordings.values()
        recording.replay()
        counts = launches(recording.replay)
        # One call for all parameters is a launch for each 64 Ki elements of 320: at most 8 for BERT-base.
        n_launches[n_layers] = sum(counts.values())
        assert counts["aten._foreach_copy_"] == 2
        assert counts["aten._foreach_add_"] == 1
    by_layer = (n_launches[3] - n_launches[1]) / 2
    dropout = 12 * 2 * 2  # forward and backward after each block; the CPU draws in numpy without noise here
    assert n_launches[1] + 11 * by_layer + dropout <= 1300
    assert 40 < by_layer < 60


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_with_recorded_passes_equals_training_with_slices(strategy):
    tiny, strategy = tiny_of(), TrainingStrategy(strategy)
    sliced, graphed = make_trainer(tiny, strategy), make_trainer(tiny, strategy)
    graphed._graphed = make_graphed(graphed)
    assert len(tiny.data.train) % N_EXAMPLES != 0  # so that the last batch is not covered
    sliced.run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graphed.run()
    assert graphed._graphed is not None  # it has not given up
    found, start = dict(graphed.network.model.named_parameters()), dict(tiny.network.model.named_parameters())
    for name, expected in sliced.network.model.named_parameters():
        # AdamW amplifies rounding noise in gradients that are 0 in theory.
        if "embeddings" in name or "classifier" in name:
            torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")
            assert (expected - start[name]).abs().max() > 1e-5


@pytest.mark.parametrize("longest", [5, 8, 60, 128, 250, 300, 512])
def test_every_batch_is_padded_to_one_of_a_few_lengths(longest):
    network = tiny_of().network
    passes = GraphedPasses(network, "classification", TrainingStrategy(), N_EXAMPLES, longest)
    lengths = range(1, longest + 1)
    padded = [passes.padded_length(length) for length in lengths]
    assert all(length <= to <= longest for length, to in zip(lengths, padded, strict=True))
    assert len(set(padded)) <= N_LENGTHS
    assert all(to % 8 == 0 for to in padded if to != longest)
    assert passes.covers(N_EXAMPLES)
    assert not passes.covers(N_EXAMPLES - 1)


def test_each_length_is_recorded_once(monkeypatch):
    tiny, recorded = tiny_of(), []
    monkeypatch.setattr(GraphedPasses, "_recorded", lambda _, work: recorded.append(work) or work)
    trainer = make_trainer(tiny)
    trainer._graphed = make_graphed(trainer)
    lengths = {trainer._graphed.padded_length(int(length)) for length in tiny.data.train.lengths}
    trainer.run()
    assert 1 <= len(recorded) <= len(lengths)
    n = len(recorded)
    trainer._order, trainer.step = (-1, []), 0
    trainer.run()
    assert len(recorded) == n


def test_no_operation_of_a_pass_depends_on_a_value():
    """Tensors on the meta device have no values: an operation that reads a value raises."""
    tiny = tiny_of(precision="bf16", dropout=0.1)
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
    for recording in inputs.recordings.values():
        recording.replay()
    with pytest.raises((RuntimeError, NotImplementedError)):
        inputs.teacher.sum().item()


def test_training_continues_with_slices_if_recording_fails(monkeypatch):
    tiny = tiny_of()
    expected, trainer = make_trainer(tiny), make_trainer(tiny)
    expected.run(3)

    def refuse(*_):
        raise RuntimeError("CUDA error: operation not permitted\nmore of it")

    monkeypatch.setattr(GraphedPasses, "record", refuse)
    trainer._graphed = make_graphed(trainer)
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
    tiny, strategy = tiny_of(), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = gradients_of(tiny, step, strategy, graphed=False, device="cuda")
        assert_close(gradients_of(tiny, step, strategy, device="cuda", n_replays=3), expected, atol=1e-4)


@pytest.mark.gpu
@gpu
def test_replayed_dropout_depends_only_on_the_seed():
    outcomes = []
    for stops in ([9], [4, 9]):
        trainer = make_trainer(tiny_of(dropout=0.1), device="cuda")
        assert trainer._graphed is not None
        for stop in stops:  # a new trainer records again but draws the same random numbers
            state = trainer.state()
            trainer = make_trainer(tiny_of(dropout=0.1), device="cuda")
            trainer.restore(state)
            trainer.run(stop)
        outcomes.append(trainer.network.model.classifier.weight.clone())
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=0, atol=1e-6)
    without = make_trainer(tiny_of(), device="cuda")
    without.run(9)
    assert (without.network.model.classifier.weight - outcomes[0]).abs().max() > 1e-5
