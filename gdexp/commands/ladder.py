"""``python -m gdexp ladder``: compute the tutorial's steps from one start, and compare them.

Nothing is recorded. Exit codes: 0 done, whether or not they differ; 2 bad input.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from gdexp.commands import common
from gdexp.commands.rungs import OPTIONS, STEPS
from gdexp.errors import ConfigError, counted

if TYPE_CHECKING:
    from gdexp.config.job import Job
    from gdexp.insight.comparison.ladder import Rung

PROPORTIONAL = ("proportional", "dynamics")  # what an updater declares whose step grows with lr
LETTERS = "ABCDEFGHIJKLMNOP"
WIDTH = 92


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    end = "Nothing is recorded. Exit codes: 0 done, whether or not they differ; 2 bad input."
    parser = common.bare("ladder", end)
    parser.add_argument("overrides", nargs="*", metavar="SETTING", help="as of a run: lr=0.05")
    parser.add_argument("--all", action="store_true", help="all 16 combinations by hand and torch")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with your own options")
    args = parser.parse_intermixed_args(argv)
    return common.guarded(lambda: _ladder(args))


def _ladder(args: argparse.Namespace) -> int:
    from gdexp.commands import rungs
    from gdexp.commands.arguments import checked_words
    from gdexp.config.compose import Composer, session

    typed = checked_words(args.overrides, args.config_dir)
    keys = [word.partition("=")[0].lstrip("+~") for word in typed]
    for key, word in zip(keys, typed, strict=True):
        rungs.check_word(key, word)
    with session():
        composer = Composer(args.config_dir)
        wanted = rungs.combinations(keys) if args.all else rungs.steps(keys)
        jobs = rungs.distinct(rungs.composed(wanted, typed, composer))
        published: Job | None = None
        if not args.all and "gradient" not in keys:
            with suppress(ConfigError):  # some settings need the true derivative
                ((_, published),) = rungs.composed([("step=manual",)], typed, composer)
    if len(jobs) < 2:
        raise ConfigError("the typed options leave nothing to compare. Leave one of them out.")
    all_rungs = [rungs.climbed(*each) for each in jobs]
    lines = [*(_groups(all_rungs) if args.all else _comparisons(all_rungs))]
    if published is not None:
        lines.append("\n" + _wrapped(_published(rungs.climbed((), published), all_rungs[0])))
    which = "these runs" if args.all or published is None else "the steps as published"
    lines.append(f"\nTo record {which}: {_sweep(keys, typed, everything=args.all)}")
    common.show("\n".join(lines))
    return 0


def _sweep(keys: Sequence[str], typed: Sequence[str], *, everything: bool) -> str:
    """The command of a sweep of these combinations."""
    axes = [f"{name}={','.join(options)}" for name, options in OPTIONS.items() if name not in keys]
    words = [*(axes if everything else [f"step={','.join(STEPS)}"]), *typed]
    words = [word for word in words if not word.startswith("tracking=")]
    return " ".join(map(shlex.quote, ["python", "-m", "gdexp", "-m", *words]))


def _table(rungs: Sequence[Rung], first: Sequence[str], title: str) -> Iterator[str]:
    """One row for each rung: what it is called, its choices and its end."""
    rows = [(title, *OPTIONS, "final loss")]
    for name, rung in zip(first, rungs, strict=True):
        end = rung.outcome if rung.outcome != "completed" else rung.final_loss
        rows.append((name, *rung.choices, end))
    yield from common.aligned(rows)


def _start(rung: Rung) -> str:
    settings = rung.job.settings
    lr = settings["updater"].get("lr") or settings["lr"]
    return f"lr={lr:g}, {counted(settings['iters'], 'epoch')}, {settings['dtype']}"


def _comparisons(rungs: Sequence[Rung]) -> Iterator[str]:
    """Each step beside the one before."""
    from gdexp.insight.comparison.ladder import comparison

    yield f"The tutorial's steps from one start ({_start(rungs[0])}):\n"
    names = [f"{'/'.join(rung.labels)}  {' '.join(rung.words)}" for rung in rungs]
    yield from _table(rungs, names, "step")
    for a, b in itertools.pairwise(rungs):
        lines = list(comparison(a, b))
        verb = f"{a.labels[-1]} and {b.labels[0]} are"
        yield "\n" + _wrapped([f"{verb} {lines[0]}", *lines[1:]])


def _groups(rungs: Sequence[Rung]) -> Iterator[str]:
    """The combinations in groups of identical numbers, and what tells the groups apart."""
    from gdexp.insight.comparison.ladder import comparison, groups, nearest

    grouped = groups(rungs)
    many = counted(len(grouped), "different descent") if len(grouped) > 1 else "the same descent"
    yield f"{len(rungs)} combinations from one start ({_start(rungs[0])}) give {many}:\n"
    members = [rung for group in grouped for rung in group]
    letters = [LETTERS[i] for i, group in enumerate(grouped) for _ in group]
    yield from _table(members, letters, "group")
    yield f"\nThe combinations of a group are identical, bit for bit: {_extent(rungs[0])}."
    for number in range(1, len(grouped)):
        other, a, b = nearest(grouped[number], grouped[:number])
        lines = list(comparison(a, b))
        pair = f"{LETTERS[other]} and {LETTERS[number]}"
        choice = " and ".join(
            f"{family}={one}, {two}"
            for family, one, two in zip(OPTIONS, a.choices, b.choices, strict=True)
            if one != two
        )
        yield "\n" + _wrapped([f"{pair} ({choice}) are {lines[0]}", *lines[1:]])


def _extent(rung: Rung) -> str:
    quantities = len(rung.trajectory.columns())
    return f"{counted(rung.trajectory.length, 'epoch')}, {quantities} quantities"


def _published(published: Rung, step: Rung) -> Iterator[str]:
    """Where and why step 1 as published differs from its correction."""
    from gdexp.insight.comparison.ladder import differs, multiple, without_factor

    apart, factor = differs(step, published), multiple(published, step)
    if factor is None:
        factor = published.job.settings["data"].get("batch_size")
    name = "Step 1 as published (gradient=manual_sum)"
    if apart is None:
        yield f"{name} is identical to step 1 above."
        return
    first = replace(apart.first, dtype=step.dtype)
    yield f"{name} is different from epoch {first.epoch} on: {first.quantity} is " + (
        f"{first.shown.rpartition(' and ')[2]}, not {first.shown.partition(' and ')[0]}."
    )
    if factor is None:
        return
    yield (
        f"Why: the mean's 1/n is missing from its formula, so its gradient is {factor:g} times the "
        f"derivative of the loss.{_effect(published, step, factor)}"
    )
    yield from without_factor(published, step, factor)


def _effect(published: Rung, step: Rung, factor: float) -> str:
    """What the factor does to the descent, and to the largest lr."""
    from gdexp.config.capabilities import of
    from gdexp.descent.build import build
    from gdexp.descent.numbers import exact, short
    from gdexp.insight.dynamics.curvature import curvature
    from gdexp.insight.dynamics.stability import largest_lr, rounded_down

    settings = step.job.settings
    lr, decay = (settings["updater"].get(name) for name in ("lr", "weight_decay"))
    if decay or not (lr and any(of(settings, "updater", name) for name in PROPORTIONAL)):
        return ""
    text = f" lr={exact(lr)} acts like lr={short(lr * factor)}"
    if published.outcome == "diverged":
        text += ", and diverges"
    elif step.outcome != "diverged" and published.trajectory.loss[-1] < step.trajectory.loss[-1]:
        text += ", so it converges faster here"
    built = build(step.job)
    quadratic = curvature(step.job, built)
    bounds = [quadratic and largest_lr(r.job, built, quadratic) for r in (published, step)]
    if bounds[0] and bounds[1] and not built.batch_size:
        one, other = (rounded_down(bound, 4) for bound in bounds if bound)
        text += f". It diverges above lr={one}, the other steps above {other}"
    return f"{text}."


def _wrapped(lines: Iterator[str] | Sequence[str]) -> str:
    """Paragraphs of at most 92 columns, all but the first indented."""
    first, *rest = lines
    blocks = [textwrap.fill(first, WIDTH, subsequent_indent="  ")]
    blocks += [textwrap.fill(f"  {line}", WIDTH, subsequent_indent="    ") for line in rest]
    return "\n".join(blocks)
