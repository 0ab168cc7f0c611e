"""Products of slices: exact in every data type, and in bf16 on a CPU of few different shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nasbench.data.batching import collate, evaluation_batches
from nasbench.networks import sliced
from nasbench.networks.blocks import Projection
from nasbench.networks.sliced import Slice, sliced_linear
from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.models import TINY_BERT
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training.evaluation import Evaluator

SIZE, OTHER = 300, 24
PRODUCTS = {"aten.mm.default", "aten.addmm.default"}


class Shapes(TorchDispatchMode):
    """Collects the sizes of all matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[tuple[int, ...]] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(function) in PRODUCTS:
            left, right = args[-2:]
            self.seen.add((*left.shape, right.shape[1]))
        return function(*args, **(kwargs or {}))


def kept_units(n: int, is_prefix: bool) -> Slice:
    return slice(0, n) if is_prefix else torch.from_numpy(np.random.default_rng(n).permutation(SIZE)[:n]).sort()[0]


def layer_of(by_rows: bool, has_bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(OTHER, SIZE, has_bias) if by_rows else nn.Linear(SIZE, OTHER, has_bias)


def run(layer: nn.Linear, x: Tensor, kept: Slice, by_rows: bool, dtype: torch.dtype) -> Tensor:
    bias = None if layer.bias is None else layer.bias.detach().to(dtype)
    return sliced_linear(x, Projection(layer), kept, by_rows, layer.weight.detach().to(dtype), bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("is_prefix", [True, False])
@pytest.mark.parametrize("n", [1, 128, 150, SIZE])
def test_a_slice_equals_indexing(dtype: Any, has_bias: bool, by_rows: bool, is_prefix: bool, n: int) -> None:
    layer, kept = layer_of(by_rows, has_bias), kept_units(n, is_prefix)
    x = torch.randn(2, 5, OTHER if by_rows else n).to(dtype).requires_grad_()
    with torch.no_grad():
        for parameter in layer.parameters():  # values that bf16 holds, so that both ways start from the same
            parameter.copy_(parameter.bfloat16())
    ours = run(layer, x, kept, by_rows, dtype)
    with torch.inference_mode():
        torch.testing.assert_close(run(layer, x.detach(), kept, by_rows, dtype), ours.detach(), rtol=0, atol=0)
    weight_of_y = torch.randn(ours.shape).to(dtype)
    (ours * weight_of_y).sum().backward()
    found = [x.grad, *(p.grad for p in layer.parameters())]

    for parameter in layer.parameters():
        parameter.grad = None
    in_full = x.detach().float().requires_grad_()
    active = layer.weight[kept] if by_rows else layer.weight[:, kept]
    bias = None if layer.bias is None else layer.bias[kept] if by_rows else layer.bias
    due = nn.functional.linear(in_full, active, bias)
    (due * weight_of_y.float()).sum().backward()
    rounding = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 0.15}
    torch.testing.assert_close(ours.float(), due, **rounding)
    for gradient, expected in zip(found, [in_full.grad, *(p.grad for p in layer.parameters())], strict=True):
        assert gradient is not None
        assert expected is not None
        torch.testing.assert_close(gradient.float(), expected, **rounding)
        assert (gradient[expected == 0] == 0).all()  # nothing reaches what is not active


@pytest.mark.parametrize("is_prefix", [True, False])
@pytest.mark.parametrize("by_rows", [True, False])
def test_in_bf16_all_widths_share_a_few_shapes(by_rows: bool, is_prefix: bool) -> None:
    layer, widths = layer_of(by_rows), range(1, SIZE + 1, 7)
    n_shapes = {}
    for dtype in (torch.float32, torch.bfloat16):
        with Shapes() as shapes:
            for n in widths:
                x = torch.randn(4, OTHER if by_rows else n, dtype=dtype).requires_grad_()
                run(layer, x, kept_units(n, is_prefix), by_rows, dtype).sum().backward()
        n_shapes[dtype] = len(shapes.seen)
    # Forward, gradient of the input and gradient of the weight, each with 128, 256 and 300 units.
    assert n_shapes[torch.bfloat16] == 3 * 3
    assert n_shapes[torch.float32] >= 2 * len(widths)


@pytest.mark.parametrize("is_prefix", [True, False])
def test_the_grid_changes_no_logits_and_no_gradients(monkeypatch: pytest.MonkeyPatch, is_prefix: bool) -> None:
    tiny = tiny_network(TINY_BERT, TINY_PAIR, "bf16")
    network, dims = tiny.network, tiny.network.dims
    heads, units = np.zeros((dims.n_layers, dims.n_heads), bool), np.zeros((dims.n_layers, dims.n_units), bool)
    heads[:, 0] = True
    units[:, slice(0, 5) if is_prefix else slice(1, 10, 2)] = True
    subnetwork, found = SubNetwork(heads, units), []
    for width, length in ((1, 1), (4, 8)):
        monkeypatch.setattr(sliced, "_WIDTH_GRID", width)
        monkeypatch.setattr(sliced, "_LENGTH_GRID", length)
        for parameter in network.parameters():
            parameter.grad = None
        longest = int(tiny.data.validation.lengths[:6].max())
        padded = -(-longest // length) * length
        logits = network.forward(collate(tiny.data.validation, np.arange(6), tiny.pad_id, padded), subnetwork)
        logits.sum().backward()
        evaluator = Evaluator(tiny.data.validation, tiny.task, tiny.pad_id, network.device, network.dtype)
        gradient = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        found.append((gradient, logits.detach(), torch.from_numpy(evaluator.logits(network, subnetwork))))
    for exact, rounded_up in zip(*found, strict=True):
        assert (exact - rounded_up).norm() < 0.02 * exact.norm()


def test_batches_with_a_length_grid_hold_every_example_once() -> None:
    tiny = tiny_network(TINY_BERT, TINY_PAIR)
    split = tiny.data.train
    batches = list(evaluation_batches(split, tiny.pad_id, 256, length_grid=4))
    longest = int(split.lengths.max())
    assert sorted(np.concatenate([batch.index for batch in batches])) == list(range(len(split)))
    assert all(batch.input_ids.numel() <= 256 for batch in batches)
    assert {batch.input_ids.shape[1] for batch in batches} <= {*range(0, longest, 4), longest}
