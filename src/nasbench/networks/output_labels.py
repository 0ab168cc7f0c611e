"""Which output of a trained classifier belongs to which class of a task.

A saved classifier names its outputs (``id2label``), and a task names its classes. Reusing the classifier with the wrong
order swaps its answers, so the output layer is reused only if the order is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"(?:label[_ ]?)?(\d+)")
"""``0`` or ``LABEL_0``, in lower case: the number of an output instead of a name."""


def match_outputs(classes: Sequence[str], outputs: Sequence[str], in_output_order: bool) -> tuple[int, ...] | None:
    """The output of a trained classifier for each class of a task.

    Names are compared as they are, and if they differ, without case, outer blanks and repeated blanks. Classes that are
    called ``0``, ``1``, ... or ``LABEL_0``, ``LABEL_1``, ... belong to the outputs of these numbers.

    Args:
        classes: names of the task's classes, in order.
        outputs: names of the classifier's outputs, in order.
        in_output_order: whether a user has listed the classes in the order of the outputs. This decides only where no
            name is known to the classifier.

    Returns:
        A permutation, shape ``(n_classes,)``; None if the order is not known.
    """
    if len(classes) != len(outputs):
        return None
    for shape in (str, _plain):
        keys, known = [shape(name) for name in classes], [shape(name) for name in outputs]
        if set(keys) == set(known) and len(set(known)) == len(known):
            return tuple(known.index(key) for key in keys)
    if {_plain(name) for name in classes} & {_plain(name) for name in outputs}:
        return None  # some classes are known and others are not: whatever the order, a name would be wrong
    numbers = [_number(name) for name in classes]
    if sorted(numbers) == list(range(len(outputs))):
        return tuple(numbers)
    return tuple(range(len(outputs))) if in_output_order else None


def in_output_order(names: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of a classifier's outputs where that is known, else as they come."""
    places = match_outputs(names, outputs, in_output_order=False)
    if places is None:
        return tuple(names)
    return tuple(name for _, name in sorted(zip(places, names, strict=True)))


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _number(name: str) -> int:
    """The number in ``0`` or ``LABEL_0``, -1 for any other name."""
    found = _NUMBERED.fullmatch(_plain(name))
    return int(found[1]) if found else -1
