import pytest

from nasbench.analysis.report.formatting import (
    bounds,
    count,
    csv_cell,
    escape,
    interval,
    number,
    percent,
    percent_over,
    printable,
    runs_of,
)

NAN = float("nan")


def test_numbers_have_fixed_decimals() -> None:
    assert number(0.0005, 3) == number(0.0005 + 1e-16, 3) == number(0.0005 - 1e-16, 3)
    assert number(-0.0001, 2) == "0.00"
    assert number(NAN, 2) == "-"
    assert interval(1.0, 0.5, 1.5, 1) == "1.0 [0.5, 1.5]"
    assert interval(1.0, NAN, NAN, 1) == "1.0"


def test_bounds_and_percentages() -> None:
    assert [bounds(1.0, 3.0, 1), bounds(NAN, 3.0, 1)] == ["[1.0, 3.0]", "-"]
    assert [percent(0.9346), percent(NAN)] == ["93.5 %", "-"]
    assert [percent_over(0.9346, n, 6) for n in (6, 3)] == ["93.5 %", "93.5 % (3 of 6 runs)"]
    assert percent_over(NAN, 0, 6) == "-"
    assert [runs_of(9, 12, n) for n in (0, 1)] == ["9 of 12", "9 of 12 (1 failed)"]


def test_count_uses_the_plural_except_for_one() -> None:
    assert [count(n, "entry", "entries") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert count(2, "run") == "2 runs"


def test_escape_removes_markup_and_line_breaks() -> None:
    assert escape("a_b`c`") == "a\\_b\\`c\\`"
    assert escape("a|b\n<i>") == "a\\|b &lt;i&gt;"
    assert printable("a\nb\x1b") == "a b "


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n@x", "\uff1d1", "\x1b=1"])
def test_formulas_of_spreadsheets_become_texts(text: str) -> None:
    cell = csv_cell(text)
    assert cell.isprintable()
    assert cell == "'" + printable(text)


@pytest.mark.parametrize("text", ["ws-nas/ehvi@small", "a=b", "", "stsb/minilm-l6/cpu", "1-2"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert csv_cell(text) == text
