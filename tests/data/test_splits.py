"""Splits and tokens, and how they depend on the data seed, the rows and the cache."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nasbench.data import tokens
from nasbench.data.sources import Rows, read_rows
from nasbench.data.splits import Split, load_task_data, split_indices
from nasbench.declarations.task import Task
from nasbench.errors import UserError
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins import registry
from nasbench.runs.request import default_model
from nasbench.testing.decoders import tiny_llama
from nasbench.testing.models import TINY_BERT, TINY_MODELS, tiny_bert, tiny_roberta
from nasbench.testing.tasks import (
    TINY_CHOICE,
    TINY_PAIR,
    TINY_REGRESSION,
    TINY_SINGLE,
    TINY_TASKS,
    TINY_TEXT,
    multiple_choice,
    pair,
    regression,
)


def on_disk(task: Task, folder: Path, columns: dict[str, dict[str, Any]]) -> Task:
    """The task with its rows written to ``folder/<name>/<split>.parquet``."""
    (folder / task.name).mkdir(parents=True, exist_ok=True)
    for split, table in columns.items():
        pq.write_table(pa.table(table), folder / task.name / f"{split}.parquet")
    return dataclasses.replace(task, data=dataclasses.replace(task.data, generator=None, folder=task.name))


def pairs_on_disk(folder: Path, **changes: Any) -> Task:
    return on_disk(TINY_PAIR, folder, {"train": {**pair("train"), **changes}, "validation": pair("test")})


def shuffled(columns: dict[str, Any]) -> dict[str, Any]:
    order = np.random.default_rng(5).permutation(len(columns["label"]))
    return {name: [values[i] for i in order] for name, values in columns.items()}


def equal(a: Split, b: Split) -> bool:
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(Split))


@pytest.mark.parametrize("build", [tiny_bert, tiny_roberta])
@pytest.mark.parametrize("task", [TINY_PAIR, TINY_CHOICE], ids=lambda task: task.name)
def test_tokens_do_not_depend_on_the_size_of_batches(
    task: Task, build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, tokenizer = build()
    task = dataclasses.replace(task, max_length=9)
    whole = load_task_data(task, tokenizer, 0, cache_dir=tmp_path / "a")
    monkeypatch.setattr("nasbench.data.tokens._BATCH", 7)
    parts = load_task_data(task, tokenizer, 0, cache_dir=tmp_path / "b")
    assert parts.sha256 == whole.sha256
    assert parts.summary == whole.summary


def texts_of(split: Split, tokenizer: Any) -> list[str]:
    return [
        tokenizer.decode(split.tokens[a:b], skip_special_tokens=True)
        for a, b in zip(split.offsets[:-1], split.offsets[1:], strict=True)
    ]


@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("build", [tiny_bert, tiny_roberta])
def test_tokens_equal_those_of_each_example_tokenised_alone(task: Task, build: Any) -> None:
    _, tokenizer = build()
    data = load_task_data(task, tokenizer, seed=3)
    train_rows, _ = read_rows(task, None)
    for split in (data.train, data.validation):
        sequence = 0
        for example, row in enumerate(split.ids):
            texts = [column[row] for column in train_rows.texts]
            assert split.labels[example] == train_rows.labels[row]
            pairs = [(texts[0], e) for e in texts[1:]] if task.kind == "multiple_choice" else [tuple(texts)]
            assert split.n_choices == len(pairs)
            for inputs in pairs:
                due = tokenizer(*inputs, truncation=True, max_length=task.max_length)
                a, b = split.offsets[sequence : sequence + 2]
                assert split.tokens[a:b].tolist() == due["input_ids"]
                segments = due.get("token_type_ids") or [0] * (b - a)
                assert split.segments[a:b].tolist() == segments
                sequence += 1


def test_long_texts_are_cut_to_max_length() -> None:
    _, tokenizer = tiny_bert()
    task = dataclasses.replace(TINY_PAIR, max_length=7)
    data = load_task_data(task, tokenizer, seed=0)
    assert data.train.lengths.max() == 7
    assert load_task_data(TINY_PAIR, tokenizer, seed=0).train.lengths.max() > 7


@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
def test_take_gathers_whole_examples(task: Task) -> None:
    _, tokenizer = tiny_bert()
    whole = load_task_data(task, tokenizer, seed=0).test
    indices = [5, 0, 5, 31]
    taken = whole.take(indices)
    texts, n = texts_of(whole, tokenizer), whole.n_choices
    assert texts_of(taken, tokenizer) == [texts[i * n + c] for i in indices for c in range(n)]
    assert taken.labels.tolist() == [whole.labels[i] for i in indices]
    assert taken.ids.tolist() == indices
    assert len(taken) == 4
    assert len(taken.lengths) == 4 * n
    assert len(whole.take([])) == 0
    assert equal(whole.take(range(len(whole))), whole)


@pytest.mark.parametrize("indices", [[32], [-1], [[0, 1]]])
def test_take_rejects_indices_out_of_range(indices: Any) -> None:
    _, tokenizer = tiny_bert()
    with pytest.raises(IndexError, match="within 0 to 31"):
        load_task_data(TINY_PAIR, tokenizer, seed=0).test.take(indices)


def test_split_rejects_arrays_that_do_not_fit() -> None:
    _, tokenizer = tiny_bert()
    split = load_task_data(TINY_PAIR, tokenizer, seed=0).test
    with pytest.raises(ValueError, match="do not fit 31 examples of 1 sequences"):
        dataclasses.replace(split, labels=split.labels[:-1])
    with pytest.raises(ValueError, match="do not fit offsets"):
        dataclasses.replace(split, tokens=split.tokens[:-1])


@pytest.mark.parametrize(
    ("task", "generate"),
    [(TINY_PAIR, pair), (TINY_REGRESSION, regression), (TINY_CHOICE, multiple_choice)],
    ids=["pair", "regression", "choice"],
)
def test_order_of_rows_does_not_change_the_data(task: Task, generate: Any, tmp_path: Path) -> None:
    _, tokenizer = tiny_bert()
    plain = on_disk(task, tmp_path / "a", {"train": generate("train"), "validation": generate("test")})
    on_disk(task, tmp_path / "b", {"train": shuffled(generate("train")), "validation": shuffled(generate("test"))})
    assert pq.read_table(tmp_path / "a" / task.name / "train.parquet") != pq.read_table(
        tmp_path / "b" / task.name / "train.parquet"
    )
    first, second = (load_task_data(plain, tokenizer, 0, tmp_path / d, tmp_path / f"cache {d}") for d in ("a", "b"))
    assert first.sha256 == second.sha256
    assert first.rows_sha256 == second.rows_sha256
    assert all(equal(getattr(first, s), getattr(second, s)) for s in ("train", "validation", "test"))


def test_change_of_a_label_changes_the_hashes(tmp_path: Path) -> None:
    _, tokenizer = tiny_bert()
    task = pairs_on_disk(tmp_path / "a")
    labels = pair("train")["label"]
    pairs_on_disk(tmp_path / "b", label=[1 - labels[0], *labels[1:]])
    first, second = (load_task_data(task, tokenizer, 0, tmp_path / d) for d in ("a", "b"))
    assert first.rows_sha256[0] != second.rows_sha256[0]
    assert first.rows_sha256[1] == second.rows_sha256[1]
    assert first.sha256 != second.sha256


def test_repeated_rows_are_kept(tmp_path: Path) -> None:
    _, tokenizer = tiny_bert()
    rows = pair("train")
    doubled = {name: values + values for name, values in rows.items()}
    task = on_disk(TINY_PAIR, tmp_path, {"train": doubled, "validation": pair("test")})
    data = load_task_data(task, tokenizer, 0, tmp_path)
    assert data.n_rows == (192, 32)
    assert len(data.train) + len(data.validation) == 192
    assert data.unofficial == ("train data have 192 rows where 96 are due",)


def test_seed_determines_the_split_only() -> None:
    _, tokenizer = tiny_bert()
    np.random.seed(1)  # noqa: NPY002 - global random state must not matter
    first, again, other = (load_task_data(TINY_PAIR, tokenizer, seed) for seed in (0, 0, 1))
    assert first.sha256 == again.sha256
    assert set(first.train.ids) != set(other.train.ids)
    assert equal(first.test, other.test)
    for data in (first, other):
        assert sorted([*data.train.ids, *data.validation.ids]) == list(range(96))


def _rows(n: int) -> Rows:
    return Rows((["a"] * n,), np.zeros(n, dtype=np.int64), "")


@pytest.mark.parametrize(("n_rows", "n_train"), [(2_490, 1_743), (3_668, 2_568), (5_749, 4_024), (10, 7), (1, 1)])
def test_train_gets_70_percent_of_the_rows(n_rows: int, n_train: int) -> None:
    train, validation = split_indices(TINY_PAIR, _rows(n_rows), seed=0)
    assert (len(train), len(validation)) == (n_train, n_rows - n_train)


def test_validation_limit_draws_a_fixed_subset_of_the_validation_rows() -> None:
    sst2 = registry.tasks()["sst2"]
    train, validation = split_indices(sst2, _rows(67_349), seed=4)
    same_train, unlimited = split_indices(dataclasses.replace(sst2, validation_limit=None), _rows(67_349), seed=4)
    assert np.array_equal(train, same_train)
    assert len(validation) == len(np.unique(validation)) == 2_048
    assert set(validation) < set(unlimited)
    assert not set(validation) & set(train)
    # The subset is random: its mean rank is within four standard errors of the mean rank of all rows.
    assert abs(validation.mean() / 67_349 - 0.5) < 4 * np.sqrt(1 / 12 / 2_048)


def cache_file(folder: Path) -> Path:
    """The larger of the two files, which holds the train rows."""
    return max(folder.glob("tokens/*.npz"), key=lambda path: path.stat().st_size)


def test_tokens_are_read_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (_, tokenizer), (_, left), (_, decoder), (_, other_start) = tiny_bert(), tiny_bert(), tiny_llama(), tiny_llama()
    left.truncation_side, other_start.bos_token = "left", other_start.eos_token
    first = load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path)
    text = load_task_data(TINY_TEXT, decoder, 0, cache_dir=tmp_path)

    def refuse(*_: Any) -> None:
        raise AssertionError("tokenised again")

    monkeypatch.setattr(tokens, "_encode", refuse)
    assert load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path).sha256 == first.sha256
    assert load_task_data(TINY_TEXT, decoder, 0, cache_dir=tmp_path).sha256 == text.sha256
    # Another seed splits the same tokens, which are in the cache.
    load_task_data(TINY_PAIR, tokenizer, 1, cache_dir=tmp_path)
    for changed in (
        lambda: load_task_data(dataclasses.replace(TINY_PAIR, max_length=9), tokenizer, 0, cache_dir=tmp_path),
        lambda: load_task_data(TINY_PAIR, tiny_roberta()[1], 0, cache_dir=tmp_path),
        lambda: load_task_data(TINY_REGRESSION, tokenizer, 0, cache_dir=tmp_path),
        lambda: load_task_data(TINY_PAIR, left, 0, cache_dir=tmp_path),
        lambda: load_task_data(TINY_TEXT, other_start, 0, cache_dir=tmp_path),
    ):
        with pytest.raises(AssertionError, match="tokenised again"):
            changed()


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "foreign"])
def test_damaged_cache_file_is_written_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    _, tokenizer = tiny_bert()
    first = load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path)
    path = cache_file(tmp_path)
    whole = path.read_bytes()
    start = whole.index(first.train.tokens[:4].tobytes()[:4])
    flipped = bytearray(whole)
    flipped[start] ^= 1
    path.write_bytes(
        {"empty": b"", "truncated": whole[: len(whole) // 2], "flipped": bytes(flipped), "foreign": b"text"}[damage]
    )
    assert load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path).sha256 == first.sha256
    assert path.read_bytes() == whole
    assert "damaged" in caplog.text


def test_an_interrupted_write_leaves_no_cache_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = tiny_bert()

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", die)
        with pytest.raises(KeyboardInterrupt):
            load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path)
    assert list((tmp_path / "tokens").iterdir()) == []
    assert len(load_task_data(TINY_PAIR, tokenizer, 0, cache_dir=tmp_path).test) == 32


def test_concurrent_threads_can_fill_the_cache(tmp_path: Path) -> None:
    def load(_: int) -> str:
        return load_task_data(TINY_PAIR, tiny_bert()[1], 0, cache_dir=tmp_path).sha256

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load, range(16)))) == 1
    assert len(list((tmp_path / "tokens").iterdir())) == 2


def test_tokens_are_not_cached_if_the_folder_is_not_writable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    data = load_task_data(TINY_PAIR, tiny_bert()[1], 0, cache_dir=tmp_path / "file")
    assert len(data.test) == 32
    assert "not cached" in caplog.text


def test_slow_tokenizer_is_rejected() -> None:
    with pytest.raises(UserError, match="not a fast tokenizer"):
        load_task_data(TINY_SINGLE, object(), 0)


@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)
def test_tokens_are_within_the_vocabulary_of_the_network(model: Any) -> None:
    network, tokenizer, *_ = load_pretrained(model, TINY_PAIR, 0)
    data = load_task_data(TINY_PAIR, tokenizer, 0)
    assert data.train.tokens.max() < network.config.vocab_size
    assert data.train.segments.max() < network.config.type_vocab_size


def test_incomplete_data_are_unofficial(tmp_path: Path) -> None:
    columns = {name: values[:40] for name, values in pair("train").items()}
    task = on_disk(TINY_PAIR, tmp_path, {"train": columns, "validation": pair("test")})
    data = load_task_data(task, tiny_bert()[1], 0, tmp_path)
    assert data.n_rows == (40, 32)
    assert data.unofficial == ("train data have 40 rows where 96 are due",)
    assert load_task_data(TINY_PAIR, tiny_bert()[1], 0).unofficial == ()


REAL = {  # rows of train and test, then for each the number of rows by class, or the mean label of a regression
    "rte": (2_490, 277, [1_249, 1_241], [146, 131]),
    "mrpc": (3_668, 408, [1_194, 2_474], [129, 279]),
    "stsb": (5_749, 1_500, 2.701, 2.364),
    "cola": (8_551, 1_043, [2_528, 6_023], [322, 721]),
    "sst2": (67_349, 872, [29_780, 37_569], [428, 444]),
    "qnli": (21_088, 5_463, [10_603, 10_485], [2_702, 2_761]),
    "imdb": (25_000, 25_000, [12_500, 12_500], [12_500, 12_500]),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_rows_and_labels_have_the_expected_counts(name: str, real_data_dir: Path) -> None:
    task = registry.tasks()[name]
    n_train, n_test, *due = REAL[name]
    splits = read_rows(task, real_data_dir)
    assert (len(splits[0]), len(splits[1])) == (n_train, n_test)
    for rows, counts in zip(splits, due, strict=True):
        if task.kind == "regression":
            assert round(float(rows.labels.mean()), 3) == counts
        else:
            assert np.bincount(rows.labels).tolist() == counts


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "mean_length"),
    [("rte", 64.59), ("mrpc", 53.24), ("stsb", 31.47), ("cola", 11.67), ("sst2", 25.16)],
)
def test_real_lengths_equal_the_published_lengths(name: str, mean_length: float, real_data_dir: Path) -> None:
    """Mean number of tokens of the public validation splits, uncased BERT vocabulary, from Kwon et al. (2022)."""
    task, model = registry.tasks()[name], registry.models()["minilm-l6"]
    if default_model(registry.tasks()["demo"], "cpu") != model.name:
        pytest.skip("the extra 'offline' is not installed")
    _, tokenizer, *_ = load_pretrained(model, task, 0)
    data = load_task_data(task, tokenizer, 0, real_data_dir)
    assert data.test.lengths.mean() == pytest.approx(mean_length, abs=0.011)
    assert data.unofficial == ()
    n_validation = round(0.3 * data.n_rows[0])
    assert len(data.validation) == min(n_validation, task.validation_limit or n_validation)


@pytest.mark.real_data
def test_incomplete_qnli_is_unofficial(real_data_dir: Path) -> None:
    data = load_task_data(registry.tasks()["qnli"], tiny_bert()[1], 0, real_data_dir)
    assert data.unofficial == ("train data have 21088 rows where 104743 are due",)


@pytest.mark.real_data
def test_error_for_missing_swag_train_rows_names_the_file(real_data_dir: Path) -> None:
    with pytest.raises(UserError, match=r"no file .*swag/train\.parquet, the train rows of task 'swag'"):
        read_rows(registry.tasks()["swag"], real_data_dir)


@pytest.mark.real_data
def test_swag_has_one_sequence_per_ending(real_data_dir: Path) -> None:
    swag = registry.tasks()["swag"]
    sample = "validation_sample_500"
    task = dataclasses.replace(
        swag, data=dataclasses.replace(swag.data, train_split=sample, test_split=sample, n_rows=None)
    )
    _, tokenizer, *_ = load_pretrained(TINY_BERT, task, 0)
    data = load_task_data(task, tokenizer, 0, real_data_dir)
    assert data.test.n_choices == 4
    assert len(data.test) == 500
    assert len(data.test.lengths) == 2_000
    assert np.bincount(data.test.labels).tolist() == [123, 109, 144, 124]
