from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Literal

import pytest

from nasbench.errors import UnknownName, UserError
from nasbench.plugins import options


@dataclass(frozen=True)
class Example:
    epochs: int = 5
    rate: float = 2e-5
    warm: bool = False
    strategy: Literal["full", "kd"] = "full"
    limit: int | None = 3
    name: str = "x"
    alphas: tuple[float, ...] = (0.5,)
    modes: tuple[Literal["a", "b"], ...] | None = None
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    sizes: list[int] = dataclasses.field(default_factory=list)
    either: int | str = 1

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be positive, not {self.epochs}")


def test_parse_converts_every_type() -> None:
    texts = {"epochs": "7", "rate": "1e-3", "warm": "TRUE", "strategy": "kd", "limit": "none", "name": "a b"}
    assert options.parse(Example, texts, "method 'm'") == Example(7, 1e-3, True, "kd", None, "a b")
    assert options.parse(Example, {"limit": "9"}, "method 'm'").limit == 9
    assert options.parse(Example, {}, "method 'm'") == Example()


@pytest.mark.parametrize(
    ("text", "values"), [("0.5,0.6", (0.5, 0.6)), ("1", (1.0,)), (" 1 , 2e-1 ", (1.0, 0.2)), ("", ())]
)
def test_parse_splits_tuples_at_commas(text: str, values: tuple[float, ...]) -> None:
    assert options.parse(Example, {"alphas": text}, "method 'm'").alphas == values


def test_parse_converts_items_of_tuples() -> None:
    assert options.parse(Example, {"modes": "a, b,a"}, "method 'm'").modes == ("a", "b", "a")
    assert options.parse(Example, {"modes": "none"}, "method 'm'").modes is None


def test_to_json_is_what_a_record_gives_back() -> None:
    values = options.to_json(Example(alphas=(0.5, 1.0), modes=("a",), weights={"x": 1e-3}, sizes=[1]))
    assert json.loads(json.dumps(values)) == values
    assert (values["alphas"], values["modes"], values["weights"], values["sizes"]) == (
        [0.5, 1.0],
        ["a"],
        {"x": 1e-3},
        [1],
    )
    assert options.changes(Example(alphas=(0.5,), modes=("b",)), Example()) == {"modes": ["b"]}


@pytest.mark.parametrize("value", [{1, 2}, float("inf"), float("nan"), object(), b"x"])
def test_to_json_rejects_what_a_record_cannot_hold(value: object) -> None:
    with pytest.raises(UserError, match=r"option 'name' = .* of Example cannot be kept in a record .*; use numbers"):
        options.to_json(Example(name=value))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["weights", "sizes", "either"])
def test_parse_rejects_type_that_no_text_can_set(name: str) -> None:
    with pytest.raises(
        UserError, match=rf"option '{name}' of method 'm' cannot be set from text: its type .* is not int, float,"
    ):
        options.parse(Example, {name: "1"}, "method 'm'")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"epochs": "many"}, "option 'epochs' of method 'm' must be of type int, not 'many'"),
        ({"epochs": "1.5"}, "option 'epochs' of method 'm' must be of type int, not '1.5'"),
        ({"warm": "1"}, "option 'warm' of method 'm' must be true or false, not '1'"),
        ({"strategy": "ful"}, "did you mean 'full'?"),
        ({"alphas": "0.5,x"}, "option 'alphas' of method 'm' must be of type float, not 'x'"),
        ({"alphas": "0.5,"}, "option 'alphas' of method 'm' must be of type float, not ''"),
        ({"modes": "a,c"}, "unknown value for option 'modes' of method 'm':"),
        ({"limit": "few"}, "option 'limit' of method 'm' must be of type int, not 'few'"),
        ({"rate": "inf"}, "option 'rate' of method 'm' must be a finite number between -2^63 and 2^63, not 'inf'"),
        ({"rate": "nan"}, "option 'rate' of method 'm' must be a finite number between -2^63 and 2^63, not 'nan'"),
        ({"epochs": "9" * 30}, "option 'epochs' of method 'm' must be a finite number between -2^63 and 2^63"),
        ({"epochs": "0"}, "options of method 'm': epochs must be positive, not 0"),
    ],
)
def test_parse_names_option_and_wrong_value(texts: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=r".") as caught:
        options.parse(Example, texts, "method 'm'")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_parse_suggests_the_nearest_option() -> None:
    with pytest.raises(UnknownName, match=r"unknown option of method 'm': 'epoch'; did you mean 'epochs'\?"):
        options.parse(Example, {"epoch": "5"}, "method 'm'")


def test_choices_are_the_words_of_literal_fields() -> None:
    assert options.choices(Example) == {"strategy": ["full", "kd"]}


def test_to_json_has_every_field() -> None:
    assert options.to_json(Example(epochs=2)) == {
        "epochs": 2, "rate": 2e-5, "warm": False, "strategy": "full", "limit": 3, "name": "x",
        "alphas": [0.5], "modes": None, "weights": {}, "sizes": [], "either": 1,
    }  # fmt: skip


def test_changes_are_the_options_that_differ_from_the_defaults() -> None:
    assert options.changes(Example(), Example()) == {}
    changed = Example(epochs=7, limit=None, alphas=(0.5, 1.0))
    assert options.changes(changed, Example()) == {"epochs": 7, "limit": None, "alphas": [0.5, 1.0]}


def test_changes_look_into_nested_options() -> None:
    changed, defaults = Example(weights={"a": 1.0, "b": 2.0}), Example(weights={"a": 1.0, "b": 3.0, "c": 4.0})
    assert options.changes(changed, defaults) == {"weights": {"b": 2.0, "c": None}}
