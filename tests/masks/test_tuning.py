"""Mask tuning against an explicit least-squares problem and against the published procedure."""

import numpy as np
import pytest
import torch
from support import published_rfp

from nasbench.data.batching import collate
from nasbench.masks import tuning
from nasbench.masks.sample import Sample
from nasbench.masks.tuning import NormalEquations, tune_masks
from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.decoders import TINY_GPT_NEOX
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR


@pytest.fixture(scope="module", params=[(m, t) for m in TINY_MODELS for t in (TINY_PAIR, TINY_CHOICE)],
                ids=lambda p: f"{p[0].name}-{p[1].name}")  # fmt: skip
def tiny(request):
    return tiny_network(*request.param)


def _masks(dims, share, seed):
    rng = np.random.default_rng(seed)
    return rng.random((dims.n_layers, dims.n_heads)) < share, rng.random((dims.n_layers, dims.n_units)) < share


def _pair(dims, seed=0):
    """A student inside a teacher. Few heads and units are missing: no scale leaves its range, no block is empty."""
    teacher, missing = (SubNetwork(*_masks(dims, share, s)) for share, s in ((0.95, seed), (0.9, seed + 1)))
    student = SubNetwork(teacher.heads & missing.heads, teacher.units & missing.units)
    assert student != teacher
    assert student.head_counts.all()
    return student, teacher


def _examples(tiny, drawn):
    return Sample.of(tiny.data.train, drawn).tuning_batches(tiny.network, tiny.pad_id)


@pytest.mark.parametrize("width", [1, 4])
def test_solution_equals_the_closed_form_of_damped_least_squares(width):
    """The test writes A out and solves the damped normal equations directly."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 5, 12, generator=generator)
    columns, target = torch.randn(7, 12, generator=generator), torch.randn(3, 5, 7, generator=generator)
    counts = torch.tensor([[1.0, 1, 1, 1, 1], [2, 2, 2, 0, 0], [3, 0, 0, 0, 0]])
    equations = NormalEquations(columns, width)
    for i in range(3):
        equations.add(outputs[i : i + 1], target[i : i + 1], counts[i : i + 1])
    rows, values = [], []
    for n in range(3):
        for t in range(5):
            for _ in range(int(counts[n, t])):
                a = (columns * outputs[n, t]).reshape(7, -1, width).sum(-1)  # (features, groups)
                rows.append(a.double().numpy())
                values.append(target[n, t].double().numpy())
    a, b = np.concatenate(rows), np.concatenate(values)
    normal, right = a.T @ a, a.T @ (b - a.sum(axis=1))
    expected = 1 + np.linalg.solve(normal @ normal + np.eye(len(normal)), normal @ right)
    scales = equations.solve()
    np.testing.assert_allclose(scales, expected, rtol=1e-4, atol=1e-4)
    assert ((a @ scales - b) ** 2).sum() < ((a.sum(axis=1) - b) ** 2).sum()


def test_solve_rejects_a_scale_out_of_range():
    equations = NormalEquations(torch.eye(3), 1)
    outputs = torch.full((1, 4, 3), 10.0)
    equations.add(outputs, 11 * outputs, torch.ones(1, 4))
    assert equations.solve() is None
    equations.add(-outputs, outputs, torch.ones(1, 4))  # now 11 and -1 from as many tokens: 5 on average
    np.testing.assert_allclose(equations.solve(), 5.0, rtol=1e-2)


@pytest.mark.usefixtures("exact_least_squares")
def test_masks_equal_those_of_the_published_procedure(tiny):
    drawn = np.random.default_rng(0).integers(len(tiny.data.train), size=(4, 8))
    for seed in (0, 5):
        student, teacher = _pair(tiny.network.dims, seed)
        heads, units = tune_masks(tiny.network, student, teacher, _examples(tiny, drawn))
        batches = [collate(tiny.data.train, index, tiny.pad_id) for index in drawn]
        plain_heads, plain_units = published_rfp.tune(tiny.network, student, teacher, batches)
        np.testing.assert_allclose(heads[student.heads], plain_heads[student.heads], rtol=1e-5)
        np.testing.assert_allclose(units[student.units], plain_units[student.units], atol=2e-4)
        assert (heads[0] == 1).all()  # attention of layer 0
        assert (heads[1, student.heads[1]] != 1).all()
        assert (units[0, student.units[0]] != 1).all()
        assert (heads[~student.heads] == 1).all()


def test_solver_comes_close_to_the_least_objective_in_every_block(tiny, monkeypatch):
    """LSMR stops at a tolerance: the objective must be as good as the exact one, up to a millionth of the reduction."""
    lsmr, excess = tuning.lsmr, []

    def recording(matrix, right, damp, maxiter):
        found = lsmr(matrix, right, damp=damp, maxiter=maxiter)
        normal = matrix.T @ matrix + damp**2 * np.eye(len(right))
        exact = np.linalg.solve(normal, matrix.T @ right)

        def objective(delta):
            return ((matrix @ delta - right) ** 2).sum() + damp**2 * (delta**2).sum()

        excess.append((objective(found[0]) - objective(exact)) / (objective(0 * exact) - objective(exact)))
        return found

    monkeypatch.setattr(tuning, "lsmr", recording)
    drawn = np.random.default_rng(0).integers(len(tiny.data.train), size=(4, 8))
    tune_masks(tiny.network, *_pair(tiny.network.dims), _examples(tiny, drawn))
    assert len(excess) == 5  # two blocks in each of three layers, without the attention of layer 0
    assert max(excess) < 1e-6


@pytest.mark.parametrize("model", [*TINY_MODELS, TINY_GPT_NEOX], ids=lambda model: model.name)
def test_tuning_lowers_the_reconstruction_error_of_a_block(model):
    """In the stock modules: squared differences of the first feed-forward block before LayerNorm, over all tokens."""
    tiny = tiny_network(model, TINY_PAIR)
    network, full = tiny.network, SubNetwork.full(tiny.network.dims)
    student = SubNetwork(full.heads, _pair(network.dims)[0].units)
    index = np.arange(len(tiny.data.train))
    _, units = tune_masks(network, student, full, _examples(tiny, index[None]))
    batch = collate(tiny.data.train, index, tiny.pad_id)
    output = network.adapter.feed_forward(0).output.module
    captured = []
    handle = output.register_forward_hook(lambda _, inputs, output: captured.append((inputs[0], output)))
    with torch.inference_mode():
        network.stock_logits(batch)
        handle.remove()
        (inner, target), kept = captured[0], torch.tensor(student.units[0])
        tokens = slice(None) if batch.attention_mask is None else batch.attention_mask

        def error(mask):
            return float((output(inner * mask) - target)[tokens].square().sum())

        assert error(kept * torch.tensor(units[0]).float()) < 0.95 * error(kept.float())


def _difference(tiny, student, scales, teacher, batch):
    """Squared difference of the last hidden states of the first token, student against teacher."""
    tuned = tiny.network.scaled(*scales, name="tuned").extract(student)
    with torch.inference_mode():
        own, other = (
            n.encode(n.embed(batch), batch.attention_mask, n.slices(s))
            for n, s in ((tuned, student), (tiny.network, teacher))
        )
    return float((own - other).square().sum())


def test_tuning_brings_the_last_hidden_state_closer_to_the_teacher(tiny):
    """End to end on the examples that were fitted, through LayerNorms that the least squares ignore."""
    student, teacher = _pair(tiny.network.dims)
    drawn = np.arange(len(tiny.data.train))[None]
    scales = tune_masks(tiny.network, student, teacher, _examples(tiny, drawn))
    batch = collate(tiny.data.train, drawn[0], tiny.pad_id)
    untuned = tuple(np.ones_like(s) for s in scales)
    assert _difference(tiny, student, scales, teacher, batch) < 0.9 * _difference(
        tiny, student, untuned, teacher, batch
    )


def test_scales_are_one_if_student_and_teacher_are_equal(tiny):
    student, _ = _pair(tiny.network.dims)
    heads, units = tune_masks(tiny.network, student, student, _examples(tiny, np.arange(16)[None]))
    np.testing.assert_allclose(heads, 1, atol=1e-3)
    np.testing.assert_allclose(units, 1, atol=1e-3)


def test_blocks_without_heads_or_units_are_not_tuned(tiny):
    student, teacher = _pair(tiny.network.dims)
    lacking = np.array([True, False, True])[:, None]
    student = SubNetwork(student.heads & lacking, student.units & ~lacking)
    teacher = SubNetwork(teacher.heads & lacking[::-1], teacher.units)
    heads, units = tune_masks(tiny.network, student, teacher, _examples(tiny, np.arange(16)[None]))
    assert (heads[1] == 1).all()
    assert (units[[0, 2]] == 1).all()
    assert (units[1, student.units[1]] != 1).any()


def test_tuning_ends_at_the_first_block_without_solution(tiny, monkeypatch):
    student, teacher = _pair(tiny.network.dims)
    examples = _examples(tiny, np.arange(16)[None])
    all_heads, all_units = tune_masks(tiny.network, student, teacher, examples)
    solve, n_solved = NormalEquations.solve, 0

    def fail_at_the_third(self):
        nonlocal n_solved
        n_solved += 1
        return None if n_solved == 3 else solve(self)

    monkeypatch.setattr(NormalEquations, "solve", fail_at_the_third)
    heads, units = tune_masks(tiny.network, student, teacher, examples)
    assert n_solved == 3  # feed-forward of layer 0, attention and feed-forward of layer 1
    np.testing.assert_array_equal(heads, np.where(np.arange(3)[:, None] < 2, all_heads, 1))
    np.testing.assert_array_equal(units, np.where(np.arange(3)[:, None] < 1, all_units, 1))
