"""Predictions of the networks on a run's front, on the validation and the test split: ``predictions.safetensors``.

With them, anybody who has the data can compute the reported errors again, without the weights. The file holds one array
for each network and split: the classes, packed into as few bits as they need, or the logits as they were where a metric
needs them (regression, text, AUC). Both give exactly the metrics of the record. Logits in half precision would not:
rounding makes ties, and a tie moves a rank correlation. The format holds numbers only: nothing in it can be executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nasbench.declarations.task import Task
from nasbench.errors import UserError
from nasbench.records.record import write_atomically

FILE = "predictions.safetensors"
MAX_BYTES = 64 * 2**20
"""Largest file. A run whose front needs more keeps no predictions."""
SplitName = Literal["validation", "test"]
SPLITS: tuple[SplitName, ...] = ("validation", "test")

Logits = npt.NDArray[np.floating[Any]]
Packed = npt.NDArray[Any]


class PredictionsError(UserError):
    """A file of predictions that cannot be read, or an array that does not fit its task."""


class Predictions:
    """The predictions of one run, kept up to date while its front changes.

    A network's predictions are on disk before the line of its evaluation is. Those of a network that leaves the front
    stay in the file until the next network is kept, so a kill between the two writes loses nothing.

    Args:
        folder: the run's folder. An earlier attempt's file in it is read; one that is damaged is replaced.
    """

    def __init__(self, folder: Path, task: Task) -> None:
        self._path, self._task = folder / FILE, task
        self._too_large = False
        try:
            self._kept = unpack(self._path.read_bytes()) if self._path.exists() else {}
        except (OSError, PredictionsError):
            self._kept = {}

    def keep(self, index: int, logits: Mapping[SplitName, Logits]) -> None:
        """Keep the predictions of an evaluation's network.

        Args:
            logits: by split, ``(n_examples, n_logits)``.

        Raises:
            NasbenchError: if the file cannot be written.
        """
        if self._too_large:
            return
        self._kept[index] = {split: encode(self._task, values) for split, values in logits.items()}
        if sum(array.nbytes for arrays in self._kept.values() for array in arrays.values()) > MAX_BYTES:
            self._too_large = True
            self._kept.clear()
            self._path.unlink(missing_ok=True)
        else:
            self._write()

    def drop(self, indices: Iterable[int]) -> None:
        """Forget networks that have left the front; the file loses them when it is next written."""
        for index in indices:
            self._kept.pop(index, None)

    def finish(self, front: Iterable[int]) -> None:
        """Keep only the networks of the final front, and write the file a last time."""
        self.drop(set(self._kept) - set(front))
        if self._kept:
            self._write()
        else:
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_atomically(self._path, pack(self._kept))


def pack(kept: Mapping[int, Mapping[SplitName, Packed]]) -> bytes:
    """The contents of the file, from arrays by index of the evaluation and split."""
    from safetensors.numpy import save

    arrays = {f"{index}.{split}": array for index, found in sorted(kept.items()) for split, array in found.items()}
    return save(arrays)


def unpack(data: bytes) -> dict[int, dict[SplitName, Packed]]:
    """The inverse of :func:`pack`.

    Raises:
        PredictionsError: if the file is too large, damaged, or holds something else.
    """
    from safetensors.numpy import load

    if len(data) > MAX_BYTES + 2**20:  # the names take some room, too
        raise PredictionsError(f"{FILE} has {len(data):,} bytes, more than {MAX_BYTES:,}")
    try:
        arrays = load(data)
    except Exception as error:  # a damaged file can raise anything
        raise PredictionsError(f"{FILE} cannot be read ({type(error).__name__})") from error
    found: dict[int, dict[SplitName, Packed]] = {}
    for name, array in arrays.items():
        number, _, split = name.partition(".")
        if split not in SPLITS or not (number.isascii() and number.isdigit() and len(number) < 10):
            raise PredictionsError(f"{FILE} has an array {name[:40]!r}; names are like '12.validation'")
        if str(int(number)) != number:
            raise PredictionsError(f"{FILE} has an array {name[:40]!r} with leading zeros")
        found.setdefault(int(number), {})[split] = array
    return found


def encode(task: Task, logits: Logits) -> Packed:
    """The predictions of one network on one split, in the form in which the file holds them.

    Args:
        logits: ``(n_examples, n_logits)``.

    Returns:
        uint8, the classes packed into bits; or float32, the logits, where the task's metrics need them.
    """
    if _needs_logits(task):
        return np.ascontiguousarray(logits, dtype=np.float32)
    classes = logits.argmax(axis=1)
    bits = (classes[:, None] >> np.arange(_n_bits(task))) & 1
    return np.packbits(bits.astype(np.uint8))


def decode(task: Task, packed: Packed, n_examples: int) -> Logits:
    """Logits ``(n_examples, n_logits)`` with the metrics of those that were encoded: of classes, 1 for the class.

    Raises:
        PredictionsError: if the array is not that of a network on so many examples of the task.
    """
    if _needs_logits(task):
        shape = (n_examples, task.n_labels)
        if packed.dtype != np.float32 or packed.shape != shape:
            raise PredictionsError(f"predictions are float32 {shape}, not {packed.dtype} {packed.shape}")
        return packed
    n_bits = _n_bits(task)
    n_bytes = -(-n_examples * n_bits // 8)
    if packed.dtype != np.uint8 or packed.shape != (n_bytes,):
        raise PredictionsError(f"predictions are uint8 {(n_bytes,)}, not {packed.dtype} {packed.shape}")
    bits = np.unpackbits(packed)
    if bits[n_examples * n_bits :].any():
        raise PredictionsError("predictions have bits after the last example")
    classes = bits[: n_examples * n_bits].reshape(n_examples, n_bits) @ (1 << np.arange(n_bits))
    if len(classes) and classes.max() >= task.n_labels:
        raise PredictionsError(f"a predicted class is {classes.max()}, and the task has {task.n_labels} classes")
    return np.eye(task.n_labels, dtype=np.float32)[classes]


def _needs_logits(task: Task) -> bool:
    return task.kind in ("regression", "language_modelling") or "auc" in (task.metric, *task.other_metrics)


def _n_bits(task: Task) -> int:
    return max(1, (task.n_labels - 1).bit_length())
