from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from nasbench import options
from nasbench.errors import UnknownName, UserError


@dataclass(frozen=True)
class Example:
    epochs: int = 5
    rate: float = 2e-5
    warm: bool = False
    strategy: Literal["full", "kd"] = "full"
    limit: int | None = 3
    name: str = "x"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be positive, not {self.epochs}")


def test_every_kind_of_value_is_converted() -> None:
    texts = {"epochs": "7", "rate": "1e-3", "warm": "TRUE", "strategy": "kd", "limit": "none", "name": "a b"}
    assert options.parse(Example, texts, "method 'm'") == Example(7, 1e-3, True, "kd", None, "a b")
    assert options.parse(Example, {"limit": "9"}, "method 'm'").limit == 9
    assert options.parse(Example, {}, "method 'm'") == Example()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"epochs": "many"}, "option 'epochs' of method 'm' is of type int, 'many' is not"),
        ({"epochs": "1.5"}, "option 'epochs' of method 'm' is of type int, '1.5' is not"),
        ({"warm": "1"}, "option 'warm' of method 'm' is true or false, not '1'"),
        ({"strategy": "ful"}, "did you mean 'full'?"),
        ({"limit": "few"}, "option 'limit' of method 'm' is of type int, 'few' is not"),
        ({"epochs": "0"}, "options of method 'm': epochs must be positive, not 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(texts: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=r".") as caught:
        options.parse(Example, texts, "method 'm'")
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_option_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"unknown option of method 'm' 'epoch'; did you mean 'epochs'\?"):
        options.parse(Example, {"epoch": "5"}, "method 'm'")


def test_json_has_every_field() -> None:
    assert options.to_json(Example(epochs=2)) == {
        "epochs": 2, "rate": 2e-5, "warm": False, "strategy": "full", "limit": 3, "name": "x",
    }  # fmt: skip
