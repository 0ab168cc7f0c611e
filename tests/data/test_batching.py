"""Padding, evaluation batches and the order of training examples."""

from itertools import pairwise

import numpy as np
import pytest

from nasbench.data.batching import collate, evaluation_batches, example_lengths, n_batches, training_order
from nasbench.data.splits import Split


def _split(n=203, n_choices=1, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 40, size=n * n_choices)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    n_tokens = int(offsets[-1])
    return Split(
        tokens=rng.integers(5, 90, size=n_tokens, dtype=np.int32),
        segments=rng.integers(2, size=n_tokens, dtype=np.uint8),
        offsets=offsets,
        labels=rng.integers(2, size=n),
        n_choices=n_choices,
        ids=np.arange(n),
    )


@pytest.mark.parametrize("n_choices", [1, 4])
def test_padded_examples_keep_their_tokens(n_choices):
    split = _split(n_choices=n_choices)
    index = np.array([7, 3, 3, 100])
    batch = collate(split, index, pad_id=99)
    assert batch.input_ids.shape == (4 * n_choices, example_lengths(split)[index].max())
    for row, sequence in enumerate(s for i in index for s in range(i * n_choices, (i + 1) * n_choices)):
        start, end = split.offsets[sequence : sequence + 2]
        n = end - start
        assert batch.input_ids[row, :n].tolist() == split.tokens[start:end].tolist()
        assert batch.token_type_ids[row, :n].tolist() == split.segments[start:end].tolist()
        assert batch.attention_mask[row].tolist() == [True] * n + [False] * (batch.input_ids.shape[1] - n)
        assert set(batch.input_ids[row, n:].tolist()) <= {99}
        assert set(batch.token_type_ids[row, n:].tolist()) <= {0}
    assert batch.labels.tolist() == split.labels[index].tolist()


def test_batch_has_a_mask_only_if_something_is_padded():
    split = _split()
    assert collate(split, np.array([5]), 99).attention_mask is None
    assert collate(split, np.array([5]), 99, length=50).attention_mask is not None


@pytest.mark.parametrize("n_choices", [1, 4])
@pytest.mark.parametrize("max_tokens", [1, 100, 512, 10**6])
@pytest.mark.parametrize("max_padding", [None, 0, 60])
def test_evaluation_batches_hold_every_example_once_within_the_limits(n_choices, max_tokens, max_padding):
    split = _split(n_choices=n_choices)
    batches = list(evaluation_batches(split, 99, max_tokens, max_padding))
    seen = np.concatenate([batch.index for batch in batches])
    np.testing.assert_array_equal(np.sort(seen), np.arange(len(split)))
    lengths = example_lengths(split)

    def is_too_large(index):
        n_padded = len(index) * lengths[index].max() * n_choices
        padding = n_padded - lengths[index].sum() * n_choices
        return n_padded > max_tokens or (max_padding is not None and padding > max_padding)

    assert all(len(batch.index) == 1 or not is_too_large(batch.index) for batch in batches)
    assert (np.diff(lengths[seen]) >= 0).all()
    # Batches are as large as possible: with the next example each would be too large.
    for batch, following in pairwise(batches):
        assert is_too_large(np.append(batch.index, following.index[0]))


def test_training_order_is_a_permutation_in_batches_of_similar_length():
    split, rng = _split(n=1003), np.random.default_rng(0)
    batches = training_order(split, 4, rng)
    assert len(batches) == n_batches(split, 4) == 251
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(1003))
    assert sorted(len(batch) for batch in batches) == [3] + [4] * 250
    lengths = example_lengths(split)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()
    # Short and long batches are mixed, and each epoch has a different order.
    halves = [np.concatenate(half) for half in (batches[:125], batches[125:])]
    assert abs(lengths[halves[0]].mean() - lengths[halves[1]].mean()) < 3
    again = training_order(split, 4, rng)
    assert [batch.tolist() for batch in again] != [batch.tolist() for batch in batches]
    repeated = training_order(split, 4, np.random.default_rng(0))
    assert [batch.tolist() for batch in repeated] == [batch.tolist() for batch in batches]
