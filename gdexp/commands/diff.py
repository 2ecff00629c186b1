"""``python -m gdexp diff``: say how two recorded runs differ, and what can explain it.

Exit codes: 0 every epoch is identical, 1 it is not, 2 they cannot be compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gdexp.commands import common, formats
from gdexp.descent.numbers import exact, short
from gdexp.errors import counted, cut
from gdexp.tracking.tags import REASON

if TYPE_CHECKING:
    from gdexp.commands.two_runs import Section, TwoRuns, Values
    from gdexp.insight.comparison.difference import Pair

LISTED = 12  # rows of a section
LONGEST = 9  # characters of a number that is shown whole
UNLISTED = ("reason", "final/log10_loss")  # told above, or by another number
STAGES = (
    "the losses differ first, so what differs comes before the gradient: data, start, predictions",
    "the losses are equal until then, so what differs is how the gradient is computed",
    "losses and gradients are equal until then, so what differs is how the parameters are updated",
    "losses, gradients and parameters are equal",
    "every epoch that both have is equal, so the shorter run is the beginning of the longer one",
)
BATCHES = "with minibatches, each of these depends on the updates within the epoch"


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    parser = common.parser("diff", single=True)
    parser.add_argument("other", type=common.run_id, metavar="RUN_ID", help="the other run")
    parser.add_argument("--json", action="store_true", help="everything that differs, as an object")
    parser.epilog = "Exit codes: 0 every epoch is identical; 1 different; 2 not comparable."
    args = parser.parse_args(argv)
    return common.guarded(lambda: _diff(args))


def _diff(args: argparse.Namespace) -> int:
    from gdexp.commands.recorded import Side
    from gdexp.commands.two_runs import TwoRuns
    from gdexp.tracking.connect import open_existing
    from gdexp.tracking.query import by_id

    store = open_existing(args.uri, args.experiment)
    a, b = (by_id(store, word) for word in (args.runs[0], args.other))
    if a.run_id == b.run_id:
        both = json.dumps({"identical": True, "runs": [a.run_id] * 2})
        common.show(both if args.json else f"identical: both are run {a.run_id}")
        return 0
    two = TwoRuns(Side.of(store, a), Side.of(store, b))
    common.show(_as_json(two) if args.json else "\n".join(_lines(two)))
    return 0 if two.is_identical else 1


def _lines(two: TwoRuns) -> Iterator[str]:
    from gdexp.commands.two_runs import facts

    for name, side in (("A", two.a), ("B", two.b)):
        yield f"{name}  {side.run.run_id[:8]}  {side.run.name}: {_ended(side.run)}"
    for problem in (*two.a.problems, *two.b.problems):
        yield f"   {problem}"
    for title, section in facts(two):
        if section:
            yield from ("", *_table(title, section))
    unknown = [name for name, side in (("A", two.a), ("B", two.b)) if not side.conditions.is_known]
    same = [title for title, section in facts(two) if not section and title != "results"]
    if unknown and "environment" in same:
        same.remove("environment")
    if same:
        yield f"\nthe same: {', '.join(same)}"
    if unknown:
        yield f"not recorded of {' and '.join(unknown)}: the libraries' versions and the machine"
    yield from ("", *_curves(two))


def _ended(run: Any) -> str:
    reason = run.tags.get(REASON)
    return f"{run.outcome}, {reason}" if reason else str(run.outcome)


def _table(title: str, section: Section) -> Iterator[str]:
    """A row for each difference: its name and both values."""
    from gdexp.insight.comparison.candidates import is_on_curves

    rows = [(title, "A", "B", "")]
    told = {key: values for key, values in section.items() if key not in UNLISTED}
    for key, (a, b) in list(told.items())[:LISTED]:
        note = "" if title != "settings" or is_on_curves(key) else "(not on the curves)"
        rows.append((f"  {key}", _shown(a), _shown(b), note))
    yield from common.aligned(rows)
    if (more := len(told) - LISTED) > 0:
        yield f"  and {more} more"


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    from gdexp.config.schema import typed

    text = exact(value) if isinstance(value, float) else typed(value)
    if isinstance(value, float) and len(text) > LONGEST:
        text = short(value)
    return cut(" ".join(text.strip("'").split()), 40)


def _curves(two: TwoRuns) -> Iterator[str]:
    """Whether the curves are identical, or where they part, and what can explain it."""
    pair, differs = two.trajectories, two.curves
    if pair is None:
        yield "no curves to compare"
        return
    if differs is None:
        count = f"{counted(pair[0].length, 'epoch')}, {len(pair[0].columns())} quantities"
        yield f"the curves are identical, bit for bit: {count}"
        return
    from gdexp.insight.comparison.candidates import LENGTH, stage_of

    first, stage = differs.first, stage_of(differs)
    if stage == LENGTH:
        lengths = " and ".join(str(each.length) for each in pair)
        yield f"the curves are equal up to epoch {differs.last_epoch}; A and B have {lengths}"
    elif first.a is None or first.b is None:
        one = "A" if first.b is None else "B"
        yield f"the curves are equal, but only {one} has {first.quantity}"
    else:
        yield f"the curves part in epoch {first.epoch}: {_values(two, first)}"
    batches = any(
        side.job is not None and side.job.settings["data"].get("batch_size")
        for side in (two.a, two.b)
    )
    if stage == LENGTH or not (first.a is None or first.b is None):
        yield f"  {BATCHES if batches and stage != LENGTH else STAGES[stage]}"
    if stage != LENGTH:
        yield from (f"  {line}" for line in _size(two))
    yield from _explained(two)


def _size(two: TwoRuns) -> Iterator[str]:
    """Whether the difference is one of rounding, and what comes of it."""
    assert two.curves is not None
    first, last = two.curves.first, two.curves.last_epoch
    if first.a is not None and first.b is not None:
        yield "as small as rounding" if two.is_rounding else "too large for rounding"
    if alone := _alone(two):
        yield alone
    if last > first.epoch:
        ends = two.curves.ends
        if not ends:
            yield f"in epoch {last}, the last that both have, everything is equal again"
            return
        more = f", and {len(ends) - 1} more differ" if ends[1:] else ""
        yield f"in epoch {last}, the last that both have: {_values(two, ends[0])}{more}"


def _values(two: TwoRuns, pair: Pair) -> str:
    """Both values, and how many ulp they are apart if rounding may have told them apart."""
    pair = replace(pair, dtype=two.dtype)
    text = f"{pair.quantity} is {pair.shown}"
    return f"{text} ({pair.distance})" if two.is_rounding else text


def _alone(two: TwoRuns) -> str:
    """Which quantities only one of them has."""
    assert two.trajectories is not None
    a, b = (each.columns().keys() for each in two.trajectories)
    parts = [
        f"only {name} has {', '.join(sorted(own)[:3])}{', …' if len(own) > 3 else ''}"
        for name, own in (("A", a - b), ("B", b - a))
        if own
    ]
    return "; ".join(parts)


def _explained(two: TwoRuns) -> Iterator[str]:
    """The candidates; and that there is none."""
    known = two.candidates
    if not known:
        yield "nothing that is recorded differs and can explain it:"
        yield "  python -m gdexp replay tells which of the two is computed again as it was"
        return
    yield "it can be explained by:"
    yield from (f"  {key}: {_words(values)}" for key, values in known.items())


def _words(values: Values) -> str:
    return f"A {_shown(values[0])}, B {_shown(values[1])}"


def _as_json(two: TwoRuns) -> str:
    from gdexp.commands.two_runs import facts

    first = two.curves.first if two.curves is not None else None
    told: dict[str, Any] = {
        "identical": two.is_identical,
        "runs": [side.run.run_id for side in (two.a, two.b)],
        **dict(facts(two)),
        "first": None
        if first is None
        else {
            "epoch": first.epoch,
            "quantity": first.quantity,
            "values": [first.a, first.b],
            "ulp": first.ulp,
            "dtype": first.dtype,
            "rounding": two.is_rounding,
        },
        "candidates": [*two.candidates],
        "problems": [*two.a.problems, *two.b.problems],
    }
    return formats.as_json(told)
