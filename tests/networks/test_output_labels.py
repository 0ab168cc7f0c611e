"""The outputs of a trained classifier are matched to a task's classes by name, or not at all."""

from __future__ import annotations

import pytest

from nasbench.networks.output_labels import in_output_order, match_outputs


@pytest.mark.parametrize(
    ("classes", "outputs", "places"),
    [
        (("ham", "spam"), ("SPAM", "HAM"), (1, 0)),
        (("ham", "spam"), ("spam", "ham"), (1, 0)),
        ((" Not  spam", "spam "), ("SPAM", "not spam"), (1, 0)),
        (("STRASSE", "b"), ("b", "straße"), (1, 0)),
        # Names that differ only in case are told apart where both sides do so.
        (("ham", "Ham"), ("Ham", "ham"), (1, 0)),
        (("ham", "Ham"), ("HAM", "spam"), None),
        (("c", "a", "b"), ("a", "b", "c"), (2, 0, 1)),
        # Numbers stand for outputs, unless the outputs have numbers for names.
        (("0", "1"), ("negative", "positive"), (0, 1)),
        (("1", "0"), ("LABEL_0", "LABEL_1"), (1, 0)),
        (("LABEL_1", "LABEL_0"), ("negative", "positive"), (1, 0)),
        (("0", "1"), ("1", "0"), (1, 0)),
        (("0", "1"), ("1", "2"), None),
        (("1", "2"), ("LABEL_0", "LABEL_1"), None),
        (("bad", "good"), ("LABEL_0", "LABEL_1"), None),
        (("bad", "good"), ("NEG", "POS"), None),
        (("a", "b"), ("a", "b", "c"), None),
        (("good", "better"), ("bad", "good"), None),
    ],
)
def test_outputs_are_matched_by_name(
    classes: tuple[str, ...], outputs: tuple[str, ...], places: tuple[int, ...] | None
) -> None:
    assert match_outputs(classes, outputs, in_output_order=False) == places


def test_listed_order_counts_only_where_names_say_nothing() -> None:
    assert match_outputs(("bad", "good"), ("LABEL_0", "LABEL_1"), in_output_order=True) == (0, 1)
    assert match_outputs(("bad", "good"), ("NEG", "POS"), in_output_order=True) == (0, 1)
    assert match_outputs(("bad", "good"), ("GOOD", "BAD"), in_output_order=True) == (1, 0)
    assert match_outputs(("good", "better"), ("bad", "good"), in_output_order=True) is None
    assert match_outputs(("bad", "good"), ("a", "b", "c"), in_output_order=True) is None


def test_names_take_the_order_of_the_outputs_where_it_is_known() -> None:
    assert in_output_order(["ham", "spam"], ["SPAM", "HAM"]) == ("spam", "ham")
    assert in_output_order(["ham", "spam"], ["LABEL_0", "LABEL_1"]) == ("ham", "spam")
    assert in_output_order(["b", "c", "a"], ["A", "B", "C"]) == ("a", "b", "c")
