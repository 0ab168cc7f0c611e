"""Attention and dropout against their definitions."""

import gc
import weakref

import numpy as np
import pytest
import torch

from nasbench.networks.attention import LongestTable, Noise, attend, relative_scores, seen_by
from nasbench.testing.decoders import TINY_LLAMA
from nasbench.testing.models import TINY_DEBERTA_V2, TINY_MODERNBERT, TINY_MPNET
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR


def _tensors():
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(3, 2, n, 4, generator=generator) for n in (5, 7, 7))
    mask = torch.arange(7) < torch.tensor([7, 4, 1])[:, None]
    return query, key, value, mask


def _defined(query, key, value, mask):
    scores = torch.einsum("nhqs,nhks->nhqk", query, key) / 2
    return (scores + torch.where(mask, 0.0, -torch.inf)[:, None, None]).softmax(-1) @ value


def test_table_of_positions_grows_and_earlier_ones_stay_alive():
    """A recorded pass of a GPU reads the memory of the table that it was recorded with."""
    table, device = LongestTable(), torch.device("cpu")
    first = table.of(3, device, lambda: torch.arange(3))
    assert table.of(2, device, lambda: torch.arange(2)) is first
    alive = weakref.ref(first)
    del first
    assert table.of(5, device, lambda: torch.arange(5)).tolist() == [0, 1, 2, 3, 4]
    gc.collect()
    assert alive() is not None
    assert len(table.of(5, torch.device("meta"), lambda: torch.arange(6))) == 6


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_MODERNBERT, TINY_MPNET, TINY_DEBERTA_V2], ids=lambda m: m.name)
def test_positions_of_short_texts_are_those_of_longer_ones(model):
    adapter = tiny_network(model, TINY_PAIR).network.adapter
    short, long = (_positions(adapter, length) for length in (8, 16))
    assert torch.equal(short, long[..., :8, : short.shape[-1]])
    assert torch.equal(_positions(adapter, 8), short)


def _positions(adapter, length):
    for found in (adapter.rotary(0, length), adapter.relative_positions(0, length), adapter.position_bias(0, length)):
        if found is not None:
            return found[0] if isinstance(found, tuple) else getattr(found, "places", found)
    raise AssertionError("no positions")


def test_attention_is_the_softmax_of_scaled_products():
    query, key, value, mask = _tensors()
    torch.testing.assert_close(attend(query, key, value, mask), _defined(query, key, value, mask))
    everything = torch.ones_like(mask)
    torch.testing.assert_close(attend(query, key, value, None), _defined(query, key, value, everything))
    torch.testing.assert_close(attend(query, key, value, mask, Noise(0), 0.0), _defined(query, key, value, mask))


def test_causal_attention_needs_a_mask_only_for_padding_before_the_tokens():
    query, key, value, mask = _tensors()
    query = torch.cat((query, query[:, :, :2]), dim=2)
    device = query.device
    assert seen_by(mask, None, 7, True, None, device) == (None, True)
    found = attend(query, key, value, None, causal=True)
    for i, n in enumerate((7, 4, 1)):
        for at in range(n):
            alone = (x[i : i + 1, :, : at + 1] for x in (key, value))
            wanted = _defined(query[i : i + 1, :, at : at + 1], *alone, torch.ones(1, at + 1, dtype=torch.bool))
            torch.testing.assert_close(found[i : i + 1, :, at : at + 1], wanted)
    for other in (mask.flip(1), torch.tensor([[True, False, True, True, True, True, True]])):
        allowed, is_causal = seen_by(other, None, 7, True, None, device)
        assert not is_causal
        assert torch.equal(allowed, (other[:, None] & torch.ones(7, 7, dtype=torch.bool).tril()) | torch.eye(7).bool())
    assert not seen_by(mask, None, 7, True, 3, device)[1]
    assert seen_by(mask, None, 7, False, None, device) == (mask, False)


@pytest.mark.parametrize("rate", [0.0, 1e-6])  # the path with dropout, at a rate that drops nothing
def test_causal_attention_with_a_bias_is_causal(rate):
    query, key, value, mask = _tensors()
    bias = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(1))
    later = torch.arange(7) > torch.arange(5)[:, None]
    scores = torch.einsum("nhqs,nhks->nhqk", query, key) / 2 + bias
    wanted = scores.masked_fill(later, -torch.inf).softmax(-1) @ value
    torch.testing.assert_close(attend(query, key, value, None, Noise(0), rate, bias, causal=True), wanted)
    with pytest.raises(AssertionError, match="it says what is causal"):
        attend(query, key, value, mask, Noise(0), rate, bias, causal=True)


def test_attention_with_dropout_is_unbiased_and_ignores_masked_tokens():
    query, key, value, mask = _tensors()
    noise = Noise(1)
    draws = torch.stack([attend(query, key, value, mask, noise, 0.3) for _ in range(4000)])
    deviation = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - _defined(query, key, value, mask)).abs() < 5 * deviation + 1e-6).all()
    assert deviation.min() > 0
    changed = value.clone()
    changed[~mask[:, None].expand(3, 2, 7)] = 99.0
    torch.testing.assert_close(
        attend(query, key, value, mask, Noise(2), 0.3), attend(query, key, changed, mask, Noise(2), 0.3)
    )


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_zeroes_at_its_rate_and_scales_the_rest(rate):
    x = torch.ones(1000, 300)
    dropped = Noise(3).dropout(x, rate)
    kept = dropped != 0
    n = x.numel()
    assert abs(int((~kept).sum()) - rate * n) < 5 * (rate * (1 - rate) * n) ** 0.5
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - rate)), rtol=1e-4, atol=0)
    # Every column loses the same share, so dropout does not depend on the place.
    assert (~kept).float().mean(0).std() < 1.2 * (rate * (1 - rate) / 1000) ** 0.5
    torch.testing.assert_close(Noise(3).dropout(x, rate), dropped)
    assert not torch.equal(Noise(4).dropout(x, rate), dropped)


def test_dropout_at_rate_zero_returns_its_input():
    x = torch.ones(4)
    assert Noise(0).dropout(x, 0.0) is x


def test_gradients_pass_kept_elements_only():
    x = torch.ones(100, requires_grad=True)
    dropped = Noise(5).dropout(x, 0.4)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad, dropped.detach())


@pytest.mark.parametrize("n_queries", [1, 5])
def test_relative_scores_compare_every_pair_with_its_position(n_queries):
    draw = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 3, n_queries, 4, generator=draw), torch.randn(2, 3, 5, 4, generator=draw)
    at_query, at_key = torch.randn(3, 7, 4, generator=draw), torch.randn(3, 7, 4, generator=draw)
    places = torch.randint(7, (5, 5), generator=draw)
    found = relative_scores(query, key, at_query, at_key, places)
    for n, h, i, j in np.ndindex(2, 3, n_queries, 5):
        place = places[i, j]
        expected = query[n, h, i] @ at_key[h, place] + key[n, h, j] @ at_query[h, place]
        torch.testing.assert_close(found[n, h, i, j], expected)
