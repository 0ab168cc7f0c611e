"""Tokenised rows as flat arrays, cached on disk under a hash of the rows and the tokenizer."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zipfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasbench.data.passages import marked_tokens, start_of_text, with_blank
from nasbench.data.sources import Rows
from nasbench.declarations.task import Task
from nasbench.errors import UserError

CACHE_VARIABLE = "NASBENCH_CACHE_DIR"
_FORMAT = 3
"""Version of the cache files, part of the cache key. Raise it when the arrays change their meaning."""

_BATCH = 10_000
"""Sequences that are tokenised together: enough for all threads, and few enough to bound the memory."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tokens:
    """Concatenated token sequences without padding.

    Attributes:
        ids: int32 ``(n_tokens,)``.
        segments: uint8 ``(n_tokens,)``, 1 for the second text of a pair if the network has segments, else 0. For a
            language model, 1 for tokens whose likelihood counts.
        offsets: int64 ``(n_sequences + 1,)``; sequence i is ``ids[offsets[i]:offsets[i + 1]]``.
        is_cut: bool ``(n_sequences,)``, whether the sequence was longer than ``max_length``.
    """

    ids: npt.NDArray[np.int32]
    segments: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    is_cut: npt.NDArray[np.bool_]


def tokenise(rows: Rows, task: Task, tokenizer: Any, cache_dir: Path | None = None) -> Tokens:
    """Tokenise all rows with a fast tokenizer, or read the result of an earlier call from the cache.

    If the task has endings, each is a sequence. The sequences of row i start at ``i * n_choices``.

    Args:
        cache_dir: None stands for :func:`default_cache_dir`. A damaged file is written again. If the folder is not
            writable, the tokens are not cached.

    Raises:
        UserError: for a slow tokenizer, or a ``max_length`` that leaves no room for text.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{type(tokenizer).__name__} is not a fast tokenizer; save the model with a tokenizer.json")
    path = (cache_dir or default_cache_dir()) / "tokens" / f"{_cache_key(rows, task, tokenizer)}.npz"
    cached = _read(path)
    if cached is not None:
        return cached
    tokens = _encode(rows, task, tokenizer)
    _write(path, tokens)
    return tokens


def default_cache_dir() -> Path:
    """The folder ``NASBENCH_CACHE_DIR`` or, without it, ``nasbench`` in the user's cache folder."""
    if text := os.environ.get(CACHE_VARIABLE):
        return Path(text)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nasbench"


def _encode(rows: Rows, task: Task, tokenizer: Any) -> Tokens:
    if task.needs_language_model:
        return _encode_marked(rows, task, tokenizer)
    first, second = _sequences(rows, task)
    n_special = tokenizer.num_special_tokens_to_add(pair=second is not None)
    if task.max_length <= n_special:
        raise UserError(
            f"task {task.name!r}: max_length = {task.max_length} leaves no room for text beside {n_special} special "
            f"tokens; raise it"
        )
    # The call of transformers keeps every encoding of every row and needs three times as long for short texts.
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(task.max_length, strategy="longest_first", direction=tokenizer.truncation_side)
    backend.no_padding()
    texts = first if second is None else list(zip(first, second, strict=True))
    has_segments = "token_type_ids" in tokenizer.model_input_names  # RoBERTa has a single segment embedding
    ids, segments, lengths, is_cut = [], [], [], []
    for start in range(0, len(texts), _BATCH):
        encodings = backend.encode_batch_fast(texts[start : start + _BATCH])
        lengths += [len(encoding) for encoding in encodings]
        # A cut sequence has max_length tokens, and the tokenizer keeps the rest of it.
        is_cut += [len(encoding) == task.max_length and bool(encoding.overflowing) for encoding in encodings]
        ids.append(_flat([encoding.ids for encoding in encodings], np.int32))
        kinds = [encoding.type_ids for encoding in encodings] if has_segments else None
        segments.append(np.zeros(len(ids[-1]), np.uint8) if kinds is None else _flat(kinds, np.uint8))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Tokens(np.concatenate(ids), np.concatenate(segments), offsets, np.array(is_cut, dtype=np.bool_))


def _encode_marked(rows: Rows, task: Task, tokenizer: Any) -> Tokens:
    """Sequences whose tokens count from the end of the context: segment 1 marks them. They are cut on the left."""
    context, continuation = _sequences(rows, task)
    if continuation is None:  # passages
        context, continuation = [""] * len(rows), context
    else:
        if task.choices_first:
            context, continuation = continuation, context
        continuation = [with_blank(text, task.choices_first) for text in continuation]
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    ids, segments, is_cut = [], [], []
    for sequence, n_context in marked_tokens(context, continuation, tokenizer):
        n_left = len(sequence) - task.max_length
        marks = np.arange(len(sequence)) >= n_context
        is_cut.append(n_left > 0)
        ids.append(np.array(sequence[max(0, n_left) :], dtype=np.int32))
        marks = marks[max(0, n_left) :].astype(np.uint8)
        marks[0] = 0  # no token comes before it
        segments.append(marks)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    return Tokens(np.concatenate(ids), np.concatenate(segments), offsets, np.array(is_cut, dtype=np.bool_))


def _flat(sequences: list[list[int]], kind: type[Any]) -> npt.NDArray[Any]:
    return np.fromiter(chain.from_iterable(sequences), dtype=kind)


def _sequences(rows: Rows, task: Task) -> tuple[list[str], list[str] | None]:
    if task.has_endings:
        start, *endings = rows.texts
        first = [text for text in start for _ in endings]
        return first, list(chain.from_iterable(zip(*endings, strict=True)))
    if len(rows.texts) == 1:
        return rows.texts[0], None
    first, second = rows.texts
    return first, second


def _cache_key(rows: Rows, task: Task, tokenizer: Any) -> str:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    # Earlier calls leave these two settings behind, and the next call overwrites them.
    backend["truncation"] = backend["padding"] = None
    identity = [_FORMAT, rows.sha256, task.kind, task.max_length, tokenizer.model_input_names, backend]
    # What the backend does not know, and only where it decides, so that older files keep their keys.
    if task.choices_first:
        identity.append("choices first")
    if task.needs_language_model:
        identity.append(f"start {start_of_text(tokenizer)}")
    elif tokenizer.truncation_side != "right":
        identity.append(f"cut on the {tokenizer.truncation_side}")
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> Tokens | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Tokens(arrays["ids"], arrays["segments"], arrays["offsets"], arrays["is_cut"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("%s is damaged and will be written again (%s)", path, error)
        return None


def _write(path: Path, tokens: Tokens) -> None:
    """Write to a temporary file and rename it, so that readers and other writers only see complete files."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, suffix=".part") as folder:
            temporary = Path(folder) / path.name
            np.savez(temporary, ids=tokens.ids, segments=tokens.segments, offsets=tokens.offsets, is_cut=tokens.is_cut)
            temporary.replace(path)
    except OSError as error:
        _log.warning("tokens are not cached: cannot write %s (%s)", path, error.strerror)
