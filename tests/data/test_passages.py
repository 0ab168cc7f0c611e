"""Passages of text for language models, and the tokens whose likelihood counts."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from support.examples import same_examples

from nasbench.benchmark.tasks import IMDB_LM, LAMBADA, WIKITEXT2, WINOGRANDE
from nasbench.data.passages import marked_tokens, n_bytes, passages, with_blank
from nasbench.data.sources import read_rows
from nasbench.data.splits import load_task_data
from nasbench.data.tokens import tokenise
from nasbench.networks.pretrained import load_pretrained
from nasbench.testing.decoders import TINY_DECODERS, TINY_GPT2, TINY_LLAMA
from nasbench.testing.tasks import TINY_TEXT, TINY_ZERO_SHOT

LINES = st.lists(st.text(st.sampled_from("ab é\n🙂 "), max_size=60), max_size=12)


@same_examples
@given(LINES, st.integers(4, 40))
def test_passages_are_the_text_in_order(lines: list[str], most_bytes: int) -> None:
    found = passages(lines, most_bytes)
    whole = "".join(line if line.endswith("\n") else line + "\n" for line in lines)
    assert "".join("".join(found).split()) == "".join(whole.split())
    position = 0
    for passage in found:  # without change, in order
        position = whole.index(passage, position) + len(passage)
    assert all(len(passage.encode()) <= most_bytes and passage.strip() for passage in found)
    assert n_bytes(found).tolist() == [len(passage.encode()) for passage in found]


def test_lines_go_together_while_they_fit_and_long_ones_are_cut_before_a_blank() -> None:
    assert passages(["ab", "cd\n", "efg hij kl", "m"], 7) == ["ab\ncd\n", "efg hij", " kl\nm\n"]


def test_the_order_of_rows_decides_the_passages_of_running_text(tmp_path: Path) -> None:
    lines = ["ab " * 200, "cd " * 100, "ef " * 200, "gh " * 100]
    found = []
    for name, order in (("as it is", lines), ("otherwise", [lines[i] for i in (0, 2, 1, 3)])):
        (tmp_path / name / "imdb").mkdir(parents=True)
        for split in ("train", "test"):
            pq.write_table(pa.table({"text": order}), tmp_path / name / "imdb" / f"{split}.parquet")
        found.append(read_rows(IMDB_LM, tmp_path / name)[0])
    assert [sorted(len(text) for text in rows.texts[0]) for rows in found] == [[902, 902], [301, 601, 902]]


@pytest.mark.real_data
@pytest.mark.parametrize("task", [WIKITEXT2, IMDB_LM], ids=lambda task: task.name)
def test_the_declared_numbers_of_passages_are_those_of_the_files(task: Any, real_data_dir: Path) -> None:
    assert tuple(map(len, read_rows(task, real_data_dir))) == task.data.n_rows


@pytest.mark.parametrize("model", [TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def test_every_token_of_a_passage_counts_once(model: Any) -> None:
    tokenizer = load_pretrained(model, TINY_TEXT, seed=0).tokenizer
    data = load_task_data(TINY_TEXT, tokenizer, seed=0)
    split = data.test
    for i in range(len(split)):
        ids = split.tokens[split.offsets[i] : split.offsets[i + 1]]
        assert ids[0] == (tokenizer.bos_token_id if model is TINY_LLAMA else tokenizer.eos_token_id)
        assert split.segments[split.offsets[i] : split.offsets[i + 1]].tolist() == [0] + [1] * (len(ids) - 1)
        if model is TINY_GPT2:  # a token is a byte
            assert split.labels[i] == len(ids) - 1
    assert split.labels.max() < TINY_TEXT.max_length


@pytest.mark.parametrize("model", TINY_DECODERS, ids=lambda model: model.name)
def test_only_the_ending_of_a_choice_counts(model: Any) -> None:
    tokenizer = load_pretrained(model, TINY_ZERO_SHOT, seed=0).tokenizer
    ((ids, n_context),) = marked_tokens(["ba be"], [" bi"], tokenizer)
    whole = tokenizer("ba be bi", add_special_tokens=False)["input_ids"]
    assert ids[1:] == whole
    assert ids[n_context:] == whole[-len(ids[n_context:]) :]
    assert n_context == 1 + len(tokenizer("ba be", add_special_tokens=False)["input_ids"])


def test_long_context_is_cut_on_the_left() -> None:
    task = dataclasses.replace(TINY_ZERO_SHOT, max_length=6)
    tokenizer = load_pretrained(TINY_LLAMA, task, seed=0).tokenizer
    short, whole = (load_task_data(one, tokenizer, seed=0).test for one in (task, TINY_ZERO_SHOT))
    assert short.lengths.max() == 6 < whole.lengths.max()
    for i in range(2 * len(short)):
        kept = whole.tokens[whole.offsets[i] : whole.offsets[i + 1]][-6:]
        np.testing.assert_array_equal(short.tokens[short.offsets[i] : short.offsets[i + 1]], kept)


def test_limits_of_train_and_test() -> None:
    tokenizer = load_pretrained(TINY_LLAMA, TINY_TEXT, seed=0).tokenizer
    task = dataclasses.replace(TINY_TEXT, train_limit=5, test_limit=4)
    one, other = (load_task_data(task, tokenizer, seed=seed) for seed in (0, 1))
    whole = load_task_data(TINY_TEXT, tokenizer, seed=0)
    assert (len(one.train), len(one.test)) == (5, 4)
    assert one.test.ids.tolist() == other.test.ids.tolist()
    assert one.train.ids.tolist() != other.train.ids.tolist()
    assert one.train.ids.tolist() == whole.train.ids.tolist()[:5]


def llama_2_tokenizer() -> Any:
    """A tokenizer of words that puts a blank before every text, as SentencePiece does for Llama 2."""
    from tokenizers import Tokenizer, models, normalizers

    pieces = ["<s>", "<unk>", *"▁abceinoy.", "▁ba", "▁be", "▁bi"]
    scores = [(piece, -float(i < 12)) for i, piece in enumerate(pieces)]
    backend = Tokenizer(models.Unigram(scores, unk_id=1))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


@pytest.mark.parametrize(
    ("context", "continuation", "pieces", "n_context"),
    [
        ("ba be", " bi", ["▁ba", "▁be", "▁bi"], 3),
        ("ba be", ".", ["▁ba", "▁be", "."], 3),
        ("", "ba be", ["▁ba", "▁be"], 1),
        ("ba b", "i", ["▁ba", "▁bi"], 2),  # the end of the context is another token in the text, and counts
    ],
)
def test_continuation_has_one_blank_where_a_tokenizer_puts_one_before_a_text(
    context: str, continuation: str, pieces: list[str], n_context: int
) -> None:
    tokenizer = llama_2_tokenizer()
    assert tokenizer.convert_ids_to_tokens(tokenizer(" bi")["input_ids"]) == ["▁", "▁bi"]
    ((ids, n),) = marked_tokens([context], [continuation], tokenizer)
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", *pieces]
    assert n == n_context


@pytest.mark.parametrize(
    ("continuation", "after_a_name", "otherwise"),
    [
        ("went out.", " went out.", " went out."),
        (".", ".", " ."),
        ("'s face.", "'s face.", " 's face."),
        ("\u2019s face.", "\u2019s face.", " \u2019s face."),
        ("'sure' was said", " 'sure' was said", " 'sure' was said"),
        ('"Nadia', ' "Nadia', ' "Nadia'),
        ("\n\nrecorder", "\n\nrecorder", "\n\nrecorder"),
    ],
)
def test_blank_before_a_continuation(continuation: str, after_a_name: str, otherwise: str) -> None:
    assert with_blank(continuation, follows_name=True) == after_a_name
    assert with_blank(continuation) == otherwise


def texts_of(tokens: Any, tokenizer: Any) -> list[tuple[str, str]]:
    """Context and continuation of each sequence, from the tokens of bytes and their marks."""
    found = []
    for start, end in pairwise(tokens.offsets):
        ids, counts = tokens.ids[start + 1 : end], tokens.segments[start + 1 : end] == 1
        found.append((tokenizer.decode(ids[~counts]), tokenizer.decode(ids[counts])))
    return found


def test_sentences_of_winogrande_and_lambada_are_spaced_as_they_are_written(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: i for i, letter in enumerate(["<s>", *letters])}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
    names = ["I like the kayak", "I like the canoe"]
    rows = {"context_options": [names] * 4, "continuation": [".", "'s oar", "went", "."], "label": [0, 1, 0, 1]}
    lambada = {"context": ["he said,", "the"] * 2, "continuation": ['"Nadia', "\n\nrecorder", "'win", "end"]}
    for name, columns in (("winogrande", rows), ("lambada", lambada)):
        (tmp_path / name).mkdir()
        pq.write_table(pa.table(columns), tmp_path / name / "validation.parquet")
    found, labels = [], []
    for task in (WINOGRANDE, LAMBADA):
        for part in read_rows(task, tmp_path):
            found += texts_of(tokenise(part, task, tokenizer, tmp_path / "cache"), tokenizer)
            labels += part.labels.tolist() if task is LAMBADA else []
    endings = [".", "'s oar", " went", "."]
    assert sorted(found[:8]) == sorted((name, ending) for name in names for ending in endings)
    spaced = [("he said,", ' "Nadia'), ("the", "\n\nrecorder"), ("he said,", " 'win"), ("the", " end")]
    assert sorted(found[8:]) == sorted(spaced)
    assert labels == [len(ending.encode()) for _, ending in found[8:]]
