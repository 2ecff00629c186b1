"""A value that is refused is answered with what was probably meant."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt

from gdexp.config import schema
from gdexp.errors import ConfigError

SHARE = Annotated[float, Ge(0), Lt(1)]
SIZE = Annotated[int | None, Ge(1)]
MEANT: dict[str, tuple[Any, Any, str]] = {
    "yes": (bool, "yes", "true"),
    "on": (bool, "ON", "true"),
    "one": (bool, 1, "true"),
    "zero": (bool, 0, "false"),
    "no": (bool, "no", "false"),
    "Python's null": (SIZE, "None", "null"),
    "a whole float": (SIZE, 5.0, "5"),
    "a case": (Literal["float32", "float64"], "Float32", "float32"),
    "another name": (Literal["cpu", "cuda"], "gpu", "cuda"),
    "a sign": (Literal["comma", "semicolon"], ";", "semicolon"),
    "one for a list": (list[str] | None, "area", "[area]"),
    "a number for a list": (list[int], 16, "[16]"),
    "a share in percent": (SHARE, "20%", "0.2"),
    "a share of 100": (SHARE, 20, "0.2"),
    "a share that may be 1": (Annotated[float, Gt(0), Le(1)], 100, "1.0"),
}


@pytest.mark.parametrize(("hint", "value", "meant"), MEANT.values(), ids=list(MEANT))
def test_what_was_meant_is_named(hint: Any, value: Any, meant: str) -> None:
    with pytest.raises(ConfigError) as refused:
        schema.check("group.key", value, hint)
    assert str(refused.value).endswith(f". Did you mean group.key={meant}?")


def test_a_list_of_allowed_values_is_a_sweep() -> None:
    with pytest.raises(ConfigError, match=r"Type -m lr=0\.1,0\.2 to run each; in Python, call sw"):
        schema.check("lr", [0.1, 0.2], schema.HINTS["lr"])


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (SIZE, "two"),
        (SIZE, 0),
        (SIZE, 2.5),
        (SHARE, -1),
        (SHARE, 200),
        (SHARE, 2),
        (SHARE, "nan%"),
        (Literal["float32", "float64"], "float16"),
        (Literal["float32", None], "zebra"),
        (list[int], ["a"]),
        (float, []),
        (str, None),
    ],
)
def test_nothing_is_guessed(hint: Any, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        schema.check("group.key", value, hint)
    assert "Did you mean" not in str(refused.value)
    assert "Type -m" not in str(refused.value)
