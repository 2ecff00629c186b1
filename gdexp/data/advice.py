"""What to do about a cell that is not a number, in a table's column of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress

from gdexp.data.numbers import BLANK, DECIMALS, EMPTY, THOUSANDS, Notation

CORRECT = "Correct it, or leave out the column with data.drop."
NO_TEXT = f"is a number in a column of text{{}}. {CORRECT}"
NOTATIONS = [
    Notation(decimal, thousands)
    for thousands in (None, *THOUSANDS)
    for decimal in DECIMALS
    if decimal != thousands
]
UNKNOWN = frozenset(
    {"?", "-", "--", ".", "*", "na", "n.a.", "nan", "none", "null", "nil", "missing", "unknown"}
    | {"#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}  # Excel's
)
MINUS = "−"  # U+2212
SYMBOLS = "[$€£¥%‰°]C?"
REWRITTEN = {  # (1000) and 1000- are negative; ="7" and '7 are Excel's texts
    re.compile(r"\((.+)\)|(.+)-"): "-",
    re.compile(r"=\"?(.+?)\"?|'(.+?)'?"): "",
}
UNITS = r"kg|m?g|[kcm]?m[²³]?|m?l|h|min|m?s|EUR|USD|CHF|GBP"
NUMBER = r"(?P<number>[+-]?[0-9][0-9.,'’ \u00a0\u202f]*)"
WITH_UNIT = re.compile(
    f"[+-]?(?:(?P<before>{SYMBOLS}|[A-Z]{{3}} ) ?)?{NUMBER}(?P<after>{SYMBOLS}|{UNITS})?"
)
WITH_WORD = re.compile(f"{NUMBER}(?P<after>[^\\W\\d_]+)")
DATE = re.compile(
    r"([0-9]{4}([./-])[0-9]{1,2}\2[0-9]{1,2}|[0-9]{1,2}([./-])[0-9]{1,2}\3([0-9]{4}|[0-9]{2})|"
    r"[0-9]{1,2}[ -][A-Za-z]{3,9}[ -][0-9]{2,4}|[A-Za-z]{3,9}[ ][0-9]{1,2},?[ ][0-9]{4})"
    r"([T ]+[0-9]{1,2}:[0-9]{2}.*)?|[0-9]{1,2}:[0-9]{2}(:[0-9.]+)?"
)


def advice(cell: str, notation: Notation) -> str:
    """What to do about a cell that is not a number.

    >>> advice("1.234,5", Notation())
    'Type data.decimal=comma data.thousands=point.'
    >>> advice("12 €", Notation())
    "Write the number alone, without '€'."
    """
    cell = cell.strip(BLANK)
    if cell.lower() in UNKNOWN:
        return "If it stands for a missing value, leave the cell empty."
    if cell.startswith("#"):
        return "If the line is a comment, type data.comment='#'."
    return _meant(cell, notation) or _without(WITH_WORD, cell, notation) or CORRECT


def is_text(cell: str, notation: Notation) -> bool | None:
    """Whether a cell is a word, and not a number, a date or a number in another notation.

    Returns:
        None if the cell may stand for a missing value.

    >>> [is_text(cell, Notation()) for cell in ("red", "1st", "?", "1", "1,5", "12 €", "true")]
    [True, True, None, False, False, False, False]
    """
    cell = cell.strip(BLANK)
    if cell in EMPTY or cell.lower() in UNKNOWN:
        return None
    return notation.number(cell) is None and not _meant(cell, notation)


def is_numeric(cell: str) -> bool:
    """Whether a cell is a finite number in one notation or another; true and false are not."""
    return any(notation.is_number(cell) for notation in NOTATIONS)


def text_columns(
    columns: Iterable[str], rows: Iterable[Mapping[str, str | None]], notation: Notation
) -> frozenset[str]:
    """The columns of text: the first cell that is neither empty nor like "?" is a word.

    A column of nothing but empty cells and such signs is text, too, unless all are empty.

    Args:
        columns: the names of the columns.
        rows: the cells by column; a cell may lack. No more rows are taken than are needed.
        notation: how numbers are written.
    """
    unseen, words = dict.fromkeys(columns, False), set()
    for row in rows:
        for name in list(unseen):
            cell = row.get(name) or ""
            word = is_text(cell, notation)
            if word is None:
                unseen[name] |= cell.strip(BLANK) not in EMPTY
                continue
            del unseen[name]
            if word:
                words.add(name)
        if not unseen:
            break
    return frozenset(words | {name for name, filled in unseen.items() if filled})


def _meant(cell: str, notation: Notation) -> str:
    """What to do about a cell that is meant as a number; empty if it is a word."""
    if MINUS in cell and notation.number(cell.replace(MINUS, "-")) is not None:
        return "Write the minus sign as a hyphen, -."
    if DATE.fullmatch(cell):
        return (
            "It looks like a date or a time: write numbers, such as days, or leave out the column "
            "with data.drop."
        )
    for pattern, sign in REWRITTEN.items():
        if (parts := pattern.fullmatch(cell)) and notation.is_number(parts[parts.lastindex or 0]):
            return f"Write it as {sign}{parts[parts.lastindex or 0]}."
    if typed := _other_notations(cell, notation) or _without(WITH_UNIT, cell, notation):
        return typed
    with suppress(ValueError):  # digits that Python accepts
        return f"Write it as {float(cell):.15g}."
    return ""


def _without(pattern: re.Pattern[str], cell: str, notation: Notation) -> str:
    """What to do about a number beside a unit; empty if it is none."""
    parts = pattern.fullmatch(cell)
    unit = " ".join(
        filter(None, map((parts.groupdict() if parts else {}).get, ("before", "after")))
    )
    if parts is None or not unit:
        return ""
    number = parts["number"].strip()
    typed = "" if notation.number(number) is not None else _other_notations(number, notation)
    if not typed and notation.number(number) is None:
        return ""
    return f"Write the number alone, without {unit.strip()!r}. {typed}".strip()


def _other_notations(cell: str, notation: Notation) -> str:
    """The settings with which a cell is a number; empty if there are none."""
    numbers: dict[str, float] = {}
    for other in NOTATIONS:
        if (number := other.number(cell)) is not None:
            numbers.setdefault(" ".join(_changes(notation, other)), number)
    fewest = min((typed.count(" ") for typed in numbers), default=0)
    least = {typed: n for typed, n in numbers.items() if typed.count(" ") == fewest}
    if len(set(least.values())) < 2:
        return f"Type {next(iter(least))}." if least else ""
    return f"Type {', or '.join(f'{typed} if it is {n:.15g}' for typed, n in least.items())}."


def _changes(notation: Notation, other: Notation) -> list[str]:
    """What to type for another notation."""
    typed = [f"data.decimal={other.decimal}"] if other.decimal != notation.decimal else []
    if other.thousands != notation.thousands:
        typed.append(f"data.thousands={other.thousands or 'null'}")
    return typed
