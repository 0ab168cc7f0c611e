"""Training of the used rows of a word embedding, against training of the whole table."""

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.training.vocabulary import ActiveVocabulary, add_rows

N_WORDS, WIDTH, PAD = 12, 3, 0
TOKENS = np.array([[7, 2], [2, 9]])


def _embedding():
    embedding = nn.Embedding(N_WORDS, WIDTH)
    with torch.no_grad():
        embedding.weight.copy_(torch.arange(float(N_WORDS * WIDTH)).view(N_WORDS, WIDTH))
    return embedding


def _vocabulary(embedding):
    vocabulary = ActiveVocabulary(embedding, TOKENS, PAD)
    vocabulary.rows.grad = torch.zeros_like(vocabulary.rows)
    return vocabulary


def test_rows_are_those_of_the_tokens_and_the_padding():
    embedding = _embedding()
    vocabulary = ActiveVocabulary(embedding, TOKENS, PAD)
    assert torch.equal(vocabulary.rows, embedding.weight[[0, 2, 7, 9]])
    padding_in_use = ActiveVocabulary(embedding, np.array([0, 2]), PAD)
    assert torch.equal(padding_in_use.rows, embedding.weight[[0, 2]])


def test_look_up_and_its_gradient_equal_those_of_the_table():
    embedding = _embedding()
    vocabulary = _vocabulary(embedding)
    ids = torch.tensor([[7, 2, 0], [9, 9, 0]])
    factors = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    for _ in range(2):  # gradients of two passes add up
        (vocabulary.look_up(ids) * factors).sum().backward()
        (embedding(ids) * factors).sum().backward()
    assert torch.equal(vocabulary.look_up(ids), embedding(ids))
    torch.testing.assert_close(vocabulary.rows.grad, embedding.weight.grad[[0, 2, 7, 9]])


def test_clear_gradient_zeroes_the_rows_of_the_last_look_up():
    vocabulary = _vocabulary(_embedding())
    vocabulary.clear_gradient()  # before any look-up there is nothing to clear
    vocabulary.look_up(torch.tensor([[7, 2]])).sum().backward()
    assert vocabulary.rows.grad.any()
    vocabulary.clear_gradient()
    assert not vocabulary.rows.grad.any()


def test_write_back_copies_used_rows_and_decays_the_others_once():
    embedding = _embedding()
    before = embedding.weight.detach().clone()
    vocabulary = _vocabulary(embedding)
    with torch.no_grad():
        vocabulary.rows.fill_(-1.0)
    vocabulary.decay_others(0.5)
    vocabulary.decay_others(0.25)
    assert torch.equal(embedding.weight, before)  # nothing happens before write_back
    for _ in range(2):  # the second time there is nothing left to apply
        vocabulary.write_back()
        expected = before * 0.125
        expected[[0, 2, 7, 9]] = -1.0
        assert torch.equal(embedding.weight, expected)


def test_restored_state_continues_with_rows_and_pending_decay():
    first, second = _embedding(), _embedding()
    vocabulary, restored = _vocabulary(first), _vocabulary(second)
    with torch.no_grad():
        vocabulary.rows.mul_(3.0)
    vocabulary.decay_others(0.5)
    restored.decay_others(0.1)
    restored.restore(vocabulary.state())
    vocabulary.write_back()
    restored.write_back()
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_token_ids_may_have_any_integer_type(dtype):
    assert len(ActiveVocabulary(_embedding(), TOKENS.astype(dtype), PAD).rows) == 4


class _OnGpu:
    """A tensor that says that it is on a GPU."""

    device = torch.device("cuda")

    def __init__(self, tensor):
        self.tensor = tensor

    def __len__(self):
        return len(self.tensor)

    def add_(self, other):
        self.tensor.add_(other)


def test_rows_are_added_on_a_gpu_as_on_a_cpu():
    """A GPU adds with another operation, which sorts the places first. Both are held against a loop."""
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.integers(5, size=(4, 6)))  # each row several times
    values = torch.from_numpy(rng.normal(size=(4, 6, WIDTH)))
    start = torch.from_numpy(rng.normal(size=(7, WIDTH)))
    expected = start.numpy().copy()
    for place, value in zip(places.flatten().tolist(), values.flatten(0, 1).numpy(), strict=True):
        expected[place] += value
    on_cpu, on_gpu = start.clone(), _OnGpu(start.clone())
    add_rows(on_cpu, places, values)
    add_rows(on_gpu, places, values)
    np.testing.assert_allclose(on_cpu, expected, rtol=1e-12)
    np.testing.assert_allclose(on_gpu.tensor, expected, rtol=1e-12)
