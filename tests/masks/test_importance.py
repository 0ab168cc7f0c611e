"""Gradients of masks against autograd through the masked stock model, one example at a time."""

import numpy as np
import pytest
import torch

from nasbench.data.batching import collate
from nasbench.masks.importance import head_gradients, mask_gradients
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.decoders import TINY_GPT2, TINY_GPT_NEOX, TINY_LLAMA
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_TEXT, TINY_ZERO_SHOT
from nasbench.training.losses import label_loss

N = 6


@pytest.fixture(scope="module", params=[(m, t) for m in TINY_MODELS for t in (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)],
                ids=lambda p: f"{p[0].name}-{p[1].name}")  # fmt: skip
def tiny(request):
    return tiny_network(*request.param)


def _subnetworks(network):
    space = make_space("large", network.dims)
    full = SubNetwork.full(network.dims)
    emptied = SubNetwork(full.heads & (np.arange(3) != 1)[:, None], full.units & (np.arange(3) != 2)[:, None])
    return [full, emptied, *(space.to_subnetwork(space.sample(np.random.default_rng(s))) for s in (1, 2))]


def _by_autograd(tiny, subnetwork):
    """Gradients of each example, from the stock model under masks."""
    heads, units = [], []
    for i in range(N):
        batch = collate(tiny.data.validation, np.array([i]), tiny.pad_id)
        masks = [torch.tensor(m, dtype=torch.float32, requires_grad=True) for m in (subnetwork.heads, subnetwork.units)]
        loss = label_loss(tiny.task.kind, tiny.network.masked(batch, subnetwork, *masks), batch.labels)
        gradients = torch.autograd.grad(loss, masks)
        heads.append(gradients[0] * masks[0].detach())
        units.append(gradients[1] * masks[1].detach())
    return torch.stack(heads), torch.stack(units)


def _close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_gradients_of_a_batch_equal_those_of_single_examples(tiny):
    for subnetwork in _subnetworks(tiny.network):
        heads, units = mask_gradients(tiny.network, tiny.batch(N), tiny.task.kind, subnetwork)
        expected_heads, expected_units = _by_autograd(tiny, subnetwork)
        assert heads.abs().max() > 1e-3
        _close(heads, expected_heads)
        _close(units, expected_units)
        _close(head_gradients(tiny.network, tiny.batch(N), tiny.task.kind, subnetwork), expected_heads)


@pytest.mark.parametrize(
    ("model", "task"),
    [(TINY_LLAMA, TINY_TEXT), (TINY_GPT2, TINY_TEXT), (TINY_GPT_NEOX, TINY_TEXT), (TINY_LLAMA, TINY_ZERO_SHOT)],
    ids=lambda part: part.name,
)
def test_gradients_of_a_language_model_do_not_depend_on_the_batches(model, task):
    tiny = tiny_network(model, task)
    labels = tiny.data.validation.labels[:N]
    assert len(set(labels.tolist())) > 1  # passages of several lengths
    for subnetwork in _subnetworks(tiny.network):
        expected = _by_autograd(tiny, subnetwork)
        for size in (1, 2, 4, N):
            batches = [
                collate(tiny.data.validation, np.arange(start, min(start + size, N)), tiny.pad_id)
                for start in range(0, N, size)
            ]
            found = [mask_gradients(tiny.network, batch, task.kind, subnetwork) for batch in batches]
            for one, other in zip(zip(*found, strict=True), expected, strict=True):
                assert other.abs().max() > 1e-3
                _close(torch.cat(one), other)


def test_per_token_gradients_equal_hooks_on_the_stock_model(tiny):
    """The hooks collect |<context, gradient>| of each token, with full padding."""
    full, dims, batch = SubNetwork.full(tiny.network.dims), tiny.network.dims, tiny.batch(N)
    contexts = {}

    def keep(layer):
        def hook(_, inputs):
            inputs[0].retain_grad()
            contexts[layer] = inputs[0]

        return hook

    handles = [
        layer.attention.output.dense.register_forward_pre_hook(keep(i))
        for i, layer in enumerate(tiny.network.adapter.layers)
    ]
    loss = label_loss(tiny.task.kind, tiny.network.stock_logits(batch), batch.labels) * N
    loss.backward()
    for handle in handles:
        handle.remove()
    tiny.network.model.zero_grad()
    expected = torch.zeros(N, dims.n_layers, dims.n_heads)
    for layer, context in contexts.items():
        for head in range(dims.n_heads):
            columns = slice(head * dims.head_size, (head + 1) * dims.head_size)
            products = (context.detach() * context.grad)[..., columns].sum(-1).abs()
            expected[:, layer, head] = products.view(N, -1).sum(1)  # over tokens and choices
    _close(head_gradients(tiny.network, batch, tiny.task.kind, full, per_token=True), expected)


def test_weights_still_require_gradients_and_have_none(tiny):
    mask_gradients(tiny.network, tiny.batch(N), tiny.task.kind, SubNetwork.full(tiny.network.dims))
    assert all(p.requires_grad for p in tiny.network.parameters())
    assert all(p.grad is None or not p.grad.any() for p in tiny.network.parameters())


def test_gradients_in_bf16_are_close_to_fp32():
    fp32, bf16 = (tiny_network(TINY_MODELS[0], TINY_PAIR, precision) for precision in ("fp32", "bf16"))
    full = SubNetwork.full(fp32.network.dims)
    for a, b in zip(
        *(mask_gradients(t.network, t.batch(N), "classification", full) for t in (fp32, bf16)), strict=True
    ):
        assert (a - b).norm() < 0.1 * a.norm()


@pytest.mark.parametrize("n_fit", [1, 2, 5])
def test_batch_that_does_not_fit_the_memory_is_computed_in_parts(tiny, monkeypatch, n_fit):
    embed, sizes = SuperNetwork.embed, []

    def limited(network, batch, *others):
        if len(batch.index) > n_fit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        sizes.append(len(batch.index))
        return embed(network, batch, *others)

    full = SubNetwork.full(tiny.network.dims)
    expected = mask_gradients(tiny.network, tiny.batch(N), tiny.task.kind, full)
    with monkeypatch.context() as patch:
        patch.setattr(SuperNetwork, "embed", limited)
        found = mask_gradients(tiny.network, tiny.batch(N), tiny.task.kind, full)
        of_heads = head_gradients(tiny.network, tiny.batch(N), tiny.task.kind, full)
        n_fit = 0
        with pytest.raises(torch.OutOfMemoryError):
            head_gradients(tiny.network, tiny.batch(N), tiny.task.kind, full)
    assert sum(sizes) == 2 * N
    for one, other in zip((*found, of_heads), (*expected, expected[0]), strict=True):
        _close(one, other)
