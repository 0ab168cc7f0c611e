"""Training against autograd on the masked stock model, AdamW on the whole table, and uninterrupted training."""

import copy
import dataclasses
import io
import random

import numpy as np
import pytest
import torch
from support.steps import TASKS, flat, tiny_of
from transformers import get_linear_schedule_with_warmup

from nasbench.data.batching import collate, training_order
from nasbench.declarations.model import TrainingConfiguration
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.strategies import FINE_TUNING_STEP, STRATEGIES, Pass, Step, TrainingStrategy
from nasbench.training.trainer import Trainer

MODELS = ("tiny-bert", "tiny-roberta")
FINE_TUNING = TrainingConfiguration(learning_rate=1e-3, batch_size=8, epochs=2, weight_decay=0.1)


def _trainer(tiny, strategy=None, step=None, fine_tuning=FINE_TUNING, space="small", seed=5):
    """A trainer of a fresh copy of the network. Every step is ``step`` if given."""
    network = tiny.network.copy()
    strategy = strategy or TrainingStrategy()
    the_space = make_space(space, network.dims)

    def schedule(number, n_steps, rng):
        return step if step is not None else strategy.step(number, n_steps, the_space, rng)

    return Trainer(network, tiny.data.train, tiny.task.kind, fine_tuning, schedule, strategy, tiny.pad_id, seed)


def _step_gradients(tiny, step, strategy):
    """Gradients that a trainer adds up in one step, by parameter name; word vectors as the whole table."""
    trainer = _trainer(tiny, strategy)
    trainer._accumulate_gradients(tiny.batch(8, tiny.data.train), step, None)
    network, vocabulary = trainer.network, trainer._vocabulary
    table = network.adapter.word_embeddings.weight
    found = {name: p.grad for name, p in network.model.named_parameters() if p is not table}
    found[_table_name(network)] = torch.zeros_like(table).index_add(0, vocabulary._active, vocabulary.rows.grad)
    return found


def _table_name(network):
    return next(n for n, p in network.model.named_parameters() if p is network.adapter.word_embeddings.weight)


def _own_losses(kind, logits, teacher, labels, strategy, distilled):
    """The losses of section 3.2.1, written out."""
    if kind == "regression":
        loss = ((logits[:, 0] - labels) ** 2).mean()
        return loss + ((logits - teacher) ** 2).mean() if distilled else loss
    loss = -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()
    if distilled:
        p, q = (teacher / strategy.temperature).softmax(1), (logits / strategy.temperature).softmax(1)
        divergence = (p * (p / q).log()).sum(1).mean()
        loss = loss + divergence * (strategy.temperature**2 if strategy.t_squared else 1)
    return loss


def _oracle_gradients(tiny, step, strategy):
    """The same gradients from the masked stock model and autograd."""
    network, batch = tiny.network.copy(), tiny.batch(8, tiny.data.train)
    with torch.no_grad():
        full = network.masked(batch)
    total = sum(
        _own_losses(tiny.task.kind, network.masked(batch, p.subnetwork), full, batch.labels, strategy, p.distilled)
        for p in step.passes
    )
    total.backward()
    return {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in network.model.named_parameters()}


def _assert_same_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=2e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_gradients_of_a_step_equal_autograd_on_the_masked_model(model, task, strategy):
    tiny, strategy = tiny_of(model, task), TrainingStrategy(strategy, temperature=2.0)
    for space in ("small", "large"):
        step = strategy.step(5, 10, make_space(space, tiny.network.dims), np.random.default_rng(1))
        expected = _oracle_gradients(tiny, step, strategy)
        _assert_same_gradients(_step_gradients(tiny, step, strategy), expected)
        # Without layers all choices have equal logits, so the gradient is zero.
        if task != "tiny-choice" or any(p.subnetwork.n_active_layers for p in step.passes):
            assert max(float(g.abs().max()) for g in expected.values()) > 1e-2


def _distilled_step(strategy="kd"):
    space = make_space("large", tiny_of().network.dims)
    return TrainingStrategy(strategy).step(0, 10, space, np.random.default_rng(2))


@pytest.mark.parametrize("strategy", ["kd", "full"])
def test_temperature_changes_the_distillation_gradient_and_t_squared_scales_it(strategy):
    tiny, step = tiny_of(), _distilled_step(strategy)
    on_labels = dataclasses.replace(step, passes=tuple(Pass(p.subnetwork) for p in step.passes))
    label_gradients = flat(_step_gradients(tiny, on_labels, TrainingStrategy()))

    def distillation_gradients(temperature, t_squared=False):
        how = TrainingStrategy(strategy, temperature=temperature, t_squared=t_squared)
        return flat(_step_gradients(tiny, step, how)) - label_gradients

    cold, warm = distillation_gradients(1.0), distillation_gradients(3.0)
    assert cold.abs().max() > 1e-2
    assert (warm - cold).norm() > 0.5 * cold.norm()
    torch.testing.assert_close(distillation_gradients(1.0, True), cold)
    torch.testing.assert_close(distillation_gradients(3.0, True), 9 * warm, rtol=1e-3, atol=1e-5)


def test_kd_does_not_train_the_full_network_on_labels():
    tiny, dims = tiny_of(), tiny_of().network.dims
    small = make_space("small", dims).to_subnetwork(np.array([2, 20, 2]))
    found = _step_gradients(tiny, Step((Pass(small, distilled=True),), frozen_teacher=True), TrainingStrategy("kd"))
    # Layers that the student lacks get no gradient, although the teacher runs them.
    layers = tiny.network.adapter.base.encoder.layer
    for name, _ in layers[2].named_parameters():
        assert not found[f"bert.encoder.layer.2.{name}"].any(), name
    assert found["bert.encoder.layer.1.output.dense.bias"].any()
    # The teacher matters: changing its last layer changes the gradient.
    changed = dataclasses.replace(tiny, network=tiny.network.copy())
    with torch.no_grad():
        changed.network.adapter.layers[2].output.LayerNorm.weight *= 3
    other = _step_gradients(
        changed, Step((Pass(small, distilled=True),), frozen_teacher=True), TrainingStrategy("kd", temperature=1.0)
    )
    assert (flat(other) - flat(found)).abs().max() > 1e-3


@pytest.mark.parametrize("space", ["small", "large"])
def test_gradients_are_zero_outside_the_active_slices(space):
    tiny, dims = tiny_of(), tiny_of().network.dims
    rng = np.random.default_rng(3)
    if space == "small":
        subnetwork = make_space(space, dims).to_subnetwork(np.array([2, 20, 2]))
    else:
        subnetwork = SubNetwork(rng.random((3, 4)) < 0.5, rng.random((3, 48)) < 0.5)
    found = _step_gradients(tiny, Step((Pass(subnetwork),)), TrainingStrategy())
    for i in range(3):
        heads = np.repeat(subnetwork.heads[i], dims.head_size)
        places = {
            "attention.self.query.weight": (heads, 0),
            "attention.self.value.weight": (heads, 0),
            "attention.self.value.bias": (heads, 0),
            "attention.output.dense.weight": (heads, 1),
            "intermediate.dense.weight": (subnetwork.units[i], 0),
            "intermediate.dense.bias": (subnetwork.units[i], 0),
            "output.dense.weight": (subnetwork.units[i], 1),
        }
        for name, (mask, dim) in places.items():
            gradient = found[f"bert.encoder.layer.{i}.{name}"].movedim(dim, 0).reshape(len(mask), -1)
            reached = gradient.abs().amax(1).numpy() > 0
            np.testing.assert_array_equal(reached, mask, err_msg=name)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_step_runs_exactly_the_scheduled_sub_networks(strategy, monkeypatch):
    tiny, run = tiny_of(), []
    slices = SuperNetwork.slices

    def spied(self, subnetwork=None):
        run.append((subnetwork or SubNetwork.full(self.dims), torch.is_grad_enabled()))
        return slices(self, subnetwork)

    monkeypatch.setattr(SuperNetwork, "slices", spied)
    scheduled = []
    trainer = _trainer(tiny, TrainingStrategy(strategy))
    schedule = trainer._schedule
    trainer._schedule = lambda *arguments: scheduled.append(schedule(*arguments)) or scheduled[-1]
    trainer.run(6)
    expected = []
    for step in scheduled:
        if strategy == "kd":
            expected.append((SubNetwork.full(tiny.network.dims), False))
        expected += [(p.subnetwork, True) for p in step.passes]
    assert len(scheduled) == 6
    assert run == expected


@pytest.mark.parametrize("model", MODELS)
def test_adamw_on_the_active_vocabulary_equals_adamw_on_the_whole_table(model):
    tiny, fine_tuning = tiny_of(model), dataclasses.replace(FINE_TUNING, learning_rate=1e-4)
    trainer = _trainer(tiny, step=FINE_TUNING_STEP, fine_tuning=fine_tuning)
    trainer.run()
    assert trainer.step == trainer.n_steps == 2 * 9

    network = tiny.network.copy()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.1)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, trainer.n_steps)
    for epoch in range(2):
        for index in training_order(tiny.data.train, 8, np.random.default_rng((5, 0, epoch))):
            batch = collate(tiny.data.train, index, tiny.pad_id)
            optimizer.zero_grad(set_to_none=False)
            torch.nn.functional.cross_entropy(network.forward(batch), batch.labels).backward()
            optimizer.step()
            schedule.step()
    found, start = dict(trainer.network.model.named_parameters()), dict(tiny.network.model.named_parameters())
    table = network.adapter.word_embeddings.weight
    unused = np.setdiff1d(np.arange(len(table)), np.union1d(tiny.data.train.tokens, [tiny.pad_id]))
    assert len(unused) > 0
    for name, expected in network.model.named_parameters():
        # Other gradients can be rounding noise around 0, which AdamW amplifies: key biases, inactive units.
        if "embeddings" in name or "classifier" in name:
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
            assert (expected - start[name]).abs().max() > 1e-5
    # Rows that occur in no example are only decayed.
    rates = [trainer.learning_rate(step) for step in range(trainer.n_steps)]
    decay = float(np.prod([1 - 0.1 * rate for rate in rates]))
    name = _table_name(network)
    torch.testing.assert_close(found[name][unused], start[name][unused] * decay, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_learning_rate_equals_the_linear_schedule_of_transformers(warmup):
    fine_tuning = dataclasses.replace(FINE_TUNING, warmup=warmup, epochs=4)
    trainer = _trainer(tiny_of(), fine_tuning=fine_tuning)
    n_steps = trainer.n_steps
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=fine_tuning.learning_rate)
    schedule = get_linear_schedule_with_warmup(optimizer, round(warmup * n_steps), n_steps)
    expected = []
    for _ in range(n_steps):
        expected.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert [trainer.learning_rate(step) for step in range(n_steps)] == pytest.approx(expected)
    used = []
    trainer.run(after_step=lambda: used.append(trainer._optimizer.param_groups[0]["lr"]))
    assert used == pytest.approx(expected)


def test_shortened_training_decays_to_zero_at_its_new_end():
    trainer = _trainer(tiny_of(), fine_tuning=dataclasses.replace(FINE_TUNING, warmup=0.0, epochs=4))
    declared, rate = trainer.n_steps, FINE_TUNING.learning_rate
    trainer.run(3)
    trainer.shorten(12)
    assert (trainer.n_steps, trainer.n_declared) == (12, declared)
    used = []
    trainer.run(after_step=lambda: used.append(trainer._optimizer.param_groups[0]["lr"]))
    assert used == pytest.approx([rate * (12 - step) / 12 for step in range(3, 12)])
    assert trainer.step == 12
    for n_steps in (11, declared):
        with pytest.raises(ValueError, match="cannot end at"):
            trainer.shorten(n_steps)
    other = _trainer(tiny_of(), fine_tuning=dataclasses.replace(FINE_TUNING, warmup=0.0, epochs=4))
    other.restore(trainer.state())
    assert (other.step, other.n_steps, other.n_declared) == (12, 12, declared)


def _weights(trainer):
    return {name: value.clone() for name, value in trainer.network.model.state_dict().items()}


def _assert_bitwise(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [[1], [9], [4, 5, 13]])
def test_resumed_training_equals_uninterrupted_training_bit_for_bit(precision, stops):
    tiny = tiny_of(precision=precision, dropout=0.1)
    whole = _trainer(tiny)
    whole.run()
    state = None
    for stop in [*stops, whole.n_steps]:
        # A new trainer continues each part from a saved file. The old trainer goes on after saving, as if killed later.
        trainer = _trainer(tiny)
        if state is not None:
            trainer.restore(torch.load(io.BytesIO(state), weights_only=True))

        def after_step(trainer=trainer, stop=stop):
            nonlocal state
            if trainer.step == stop:
                file = io.BytesIO()
                torch.save(trainer.state(), file)
                state = file.getvalue()

        trainer.run(min(stop + 2, whole.n_steps), after_step)
    _assert_bitwise(_weights(trainer), _weights(whole))


def test_interrupted_training_equals_an_uninterrupted_one_bit_for_bit():
    """The checkpoint is made after the interrupt. Rounding differs if the decay of unused words is applied in parts."""
    tiny = tiny_of()
    whole, interrupted, resumed = (_trainer(tiny) for _ in range(3))
    whole.run()

    def interrupt():
        if interrupted.step == whole.n_steps // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.run(after_step=interrupt)
    state = copy.deepcopy(interrupted.state())
    assert state["vocabulary"]["pending_decay"] != 1
    resumed.restore(state)
    resumed.run()
    _assert_bitwise(_weights(resumed), _weights(whole))


def test_training_depends_only_on_the_seed_and_restores_global_generators():
    tiny = tiny_of(dropout=0.1)
    outcomes = []
    for disturbance in (1, 2):
        torch.manual_seed(disturbance)
        random.seed(disturbance)
        np.random.seed(disturbance)  # noqa: NPY002
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        trainer = _trainer(tiny)
        trainer.run(5)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
        outcomes.append(_weights(trainer))
    _assert_bitwise(*outcomes)
    other = _trainer(tiny, seed=6)
    other.run(5)
    assert not torch.equal(_weights(other)["classifier.weight"], outcomes[0]["classifier.weight"])


def test_dropout_is_on_during_training_and_off_afterwards():
    outcomes = []
    for rate in (0.0, 0.1):
        trainer = _trainer(tiny_of(dropout=rate), step=FINE_TUNING_STEP)
        trainer.run(1)
        assert trainer.network.noise is None
        assert not trainer.network.model.training
        outcomes.append(_weights(trainer)["classifier.weight"])
    assert not torch.equal(*outcomes)


def test_an_exception_from_after_step_stops_the_training():
    class Stop(Exception):
        pass

    def stop():
        if trainer.step == 3:
            raise Stop

    trainer = _trainer(tiny_of())
    with pytest.raises(Stop):
        trainer.run(after_step=stop)
    assert trainer.step == 3
    expected = _trainer(tiny_of())
    expected.run(3)
    _assert_bitwise(_weights(trainer), _weights(expected))
    trainer.release()
    assert all(p.grad is None for p in trainer.network.parameters())


@pytest.mark.parametrize("task", sorted(TASKS))
def test_an_extracted_network_can_be_trained(task):
    tiny = tiny_of(task=task)
    subnetwork = make_space("small", tiny.network.dims).to_subnetwork(np.array([2, 20, 2]))
    network = tiny.network.extract(subnetwork)
    before = {name: value.clone() for name, value in network.model.state_dict().items()}
    trainer = Trainer(
        network, tiny.data.train, tiny.task.kind, FINE_TUNING, lambda *_: FINE_TUNING_STEP, TrainingStrategy(),
        tiny.pad_id, seed=0,
    )  # fmt: skip
    trainer.run()
    for name, value in network.model.state_dict().items():
        assert value.shape == before[name].shape
        assert not torch.equal(value, before[name]), name
    assert network.count_params() == subnetwork.n_params(network.dims)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_training_lowers_the_loss(task):
    tiny = tiny_of(task=task, dropout=0.1)
    batch = tiny.batch(40, tiny.data.train)
    trainer = _trainer(tiny, TrainingStrategy("full", temperature=1.0))

    def loss():
        with torch.no_grad():
            logits = trainer.network.forward(batch)
        return float(_own_losses(tiny.task.kind, logits, None, batch.labels, None, False))

    before = loss()
    trainer.run()
    assert loss() < before
