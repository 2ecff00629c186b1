"""What people mean by a value that is refused."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from gdexp.errors import nearest

NOT_DIGITS = re.compile(r"\D")
WORDS = {  # what YAML and Python call these values
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
    **dict.fromkeys(("null", "none", "nil"), None),
}
SYNONYMS = {  # what other programs call these values
    "gpu": "cuda",
    "double": "float64",
    "single": "float32",
    "float": "float32",
    ",": "comma",
    ";": "semicolon",
    ".": "point",
    "|": "pipe",
    "\\t": "tab",
    "\t": "tab",
    " ": "space",
}


def meanings_of(value: Any, words: Iterable[Any]) -> Iterator[Any]:
    """What people mean: 5 by 5.0, true by yes, null by None, [a] by a, 0.2 by 20%.

    Args:
        value: what was typed.
        words: those that are allowed, if the setting is a choice of words.

    >>> list(meanings_of("Off", ["on", "off"]))
    [False, 'off', ['Off']]
    """
    if isinstance(value, float) and value.is_integer():
        yield int(value)
    word = str(value).lower()
    if word in WORDS:
        yield WORDS[word]
    if word in SYNONYMS:
        yield SYNONYMS[word]
    digits = NOT_DIGITS.sub("", word)  # float16 is not meant to be float64
    names = (name for name in map(str, words) if NOT_DIGITS.sub("", name) == digits)
    if (name := nearest(word, names)) is not None:
        yield name
    if value is not None:
        yield [value]
    with contextlib.suppress(ValueError):
        number, is_share = float(word.removesuffix("%")), word.endswith("%")
        if is_share or 10 <= number <= 100:
            yield number / 100


def several(key: str, value: Any) -> str:
    """What to type instead of two settings in one word, or "".

    >>> several("lr", "0.1 iters=3"), several("lr", "0.1")
    (' Type each setting as a word of its own: lr=0.1 iters=3.', '')
    """
    is_two = isinstance(value, str) and re.fullmatch(r"\S+(\s+\w[\w.]*=\S*)+", value)
    words = " ".join(str(value).split())
    return f" Type each setting as a word of its own: {key}={words}." if is_two else ""
