"""``python -m gdexp ladder``: compute the tutorial's steps from one start, and compare them.

Nothing is recorded. Exit codes: 0 done, whether or not they differ; 2 bad input.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gdexp.commands import COMMANDS, common
from gdexp.errors import ConfigError, GdexpError, counted

if TYPE_CHECKING:
    from gdexp.config.compose import Composer
    from gdexp.config.job import Job
    from gdexp.insight.ladder import Rung

STEPS = ("manual", "autograd", "optimizer", "model")
OPTIONS = {
    "predictor": ("manual", "model"),
    "gradient": ("manual", "autograd"),
    "loss": ("manual", "MSELoss"),
    "updater": ("manual", "SGD"),
}
TRUE = "gradient=manual"  # the derivative, in place of the formula that step 1 published
LETTERS = "ABCDEFGHIJKLMNOP"
WIDTH = 92


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    line = COMMANDS["ladder"]
    parser = common.Parser(
        prog="python -m gdexp ladder",
        description=f"{line[0].upper()}{line[1:]}.",
        epilog="Nothing is recorded. Exit codes: 0 done, whether or not they differ; 2 bad input.",
    )
    parser.add_argument("overrides", nargs="*", metavar="SETTING", help="as of a run: lr=0.05")
    parser.add_argument("--all", action="store_true", help="all 16 combinations by hand and torch")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with your own options")
    args = parser.parse_intermixed_args(argv)
    return common.guarded(lambda: _ladder(args))


def _ladder(args: argparse.Namespace) -> int:
    from gdexp.commands.arguments import checked_words
    from gdexp.config.compose import Composer, session

    typed = checked_words(args.overrides, args.config_dir)
    keys = [word.partition("=")[0].lstrip("+~") for word in typed]
    for key, word in zip(keys, typed, strict=True):
        _check(key, word)
    with session():
        composer = Composer(args.config_dir)
        steps = _combinations(keys) if args.all else _steps(keys)
        jobs = _distinct(_composed(steps, typed, composer))
        published: Job | None = None
        if not args.all and "gradient" not in keys:
            ((_, published),) = _composed([("step=manual",)], typed, composer)
    if len(jobs) < 2:
        raise ConfigError("the typed options leave nothing to compare. Leave one of them out.")
    rungs = [_climbed(words, job, labels) for words, job, labels in jobs]
    sweep = [*(_of_all(keys) if args.all else [f"step={','.join(STEPS)}"]), *typed]
    command = " ".join(map(shlex.quote, ["python", "-m", "gdexp", "-m", *sweep]))
    lines = _groups(rungs) if args.all else _comparisons(rungs)
    common.show("\n".join([*lines]))
    if published is not None:
        common.show("\n" + _wrapped(_published(_climbed((), published, ()), rungs[0])))
    common.show(f"\nTo record these runs: {command}")
    return 0


def _check(key: str, word: str) -> None:
    """Refuse what the ladder sets itself, and what has several values."""
    from gdexp.config.overrides import parse

    if key == "step":
        raise ConfigError(f"{word}: the ladder compares all four steps. Leave it out.")
    if key == "continue_from":
        raise ConfigError(f"{word}: the ladder compares runs from one start. Leave it out.")
    if parse(word).is_sweep_override():
        raise ConfigError(f"{word} names several values, and the ladder takes one. Choose one.")


def _steps(keys: Sequence[str]) -> list[tuple[str, ...]]:
    """The words of each step; step 1 with the true derivative, unless a gradient was chosen."""
    first = ("step=manual",) if "gradient" in keys else ("step=manual", TRUE)
    return [first, *((f"step={step}",) for step in STEPS[1:])]


def _combinations(keys: Sequence[str]) -> list[tuple[str, ...]]:
    axes = [
        [f"{family}={option}" for option in options]
        for family, options in OPTIONS.items()
        if family not in keys
    ]
    return list(itertools.product(*axes))


def _of_all(keys: Sequence[str]) -> list[str]:
    return [f"{name}={','.join(options)}" for name, options in OPTIONS.items() if name not in keys]


def _composed(
    steps: Sequence[tuple[str, ...]], typed: Sequence[str], composer: Composer
) -> list[tuple[tuple[str, ...], Job]]:
    """The checked job of each combination.

    Raises:
        ConfigError: a combination is refused; says which, unless all are refused alike.
    """
    from gdexp.commands.api import composed_job
    from gdexp.config.schema import FAMILIES
    from gdexp.experiment import check_run

    jobs, refused = [], []
    for words in steps:
        try:
            job = composed_job([*words, *typed], composer)
            check_run(job)
            jobs.append((words, job))
        except ConfigError as error:
            refused.append((words, str(error)))
    if refused:
        (words, sentence), messages = refused[0], {sentence for _, sentence in refused}
        if len(messages) == 1 and not jobs:
            raise ConfigError(sentence)
        family = sentence.partition(".")[0]
        hint = f" Choose one {family} for all, as in {family}={OPTIONS[family][1]}."
        raise ConfigError(
            f"with {' '.join(words)}, {sentence}{hint if family in FAMILIES else ''}"
        )
    return jobs


def _distinct(
    jobs: Sequence[tuple[tuple[str, ...], Job]],
) -> list[tuple[tuple[str, ...], Job, tuple[str, ...]]]:
    """The jobs without those that are like an earlier one, and the numbers of all."""
    from gdexp.config.schema import FAMILIES

    distinct: dict[str, tuple[tuple[str, ...], Job, tuple[str, ...]]] = {}
    for number, (words, job) in enumerate(jobs, 1):
        key = repr([job.settings[family] for family in FAMILIES])
        first = distinct.get(key, (words, job, ()))
        distinct[key] = (*first[:2], (*first[2], str(number)))
    return list(distinct.values())


def _climbed(words: tuple[str, ...], job: Job, labels: tuple[str, ...]) -> Rung:
    """Compute a rung.

    Raises:
        GdexpError: a component of the run failed.
    """
    from gdexp.insight.ladder import Rung
    from gdexp.insight.rounding import computed

    try:
        return Rung(words, job, labels, trajectory=computed(job))
    except Exception as error:
        raise GdexpError(f"{' '.join(job.typed)} fails: {type(error).__name__}: {error}") from error


def _table(rungs: Sequence[Rung], first: Sequence[str], title: str) -> Iterator[str]:
    """One row for each rung: what it is called, its choices and its end."""
    rows = [(title, *OPTIONS, "final loss")]
    for name, rung in zip(first, rungs, strict=True):
        loss = rung.trajectory.loss
        end = rung.outcome if rung.outcome != "completed" else f"{loss[-1]:.8g}"
        rows.append((name, *rung.choices, end))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()


def _start(rung: Rung) -> str:
    settings = rung.job.settings
    return f"lr={settings['lr']:g}, {counted(settings['iters'], 'epoch')}, {settings['dtype']}"


def _comparisons(rungs: Sequence[Rung]) -> Iterator[str]:
    """Each step beside the one before."""
    from gdexp.insight.ladder import comparison

    yield f"The tutorial's steps from one start ({_start(rungs[0])}):\n"
    names = [f"{'/'.join(rung.labels)}  {' '.join(rung.words)}" for rung in rungs]
    yield from _table(rungs, names, "step")
    for a, b in itertools.pairwise(rungs):
        lines = list(comparison(a, b))
        verb = f"{a.labels[-1]} and {b.labels[0]} are"
        yield "\n" + _wrapped([f"{verb} {lines[0]}", *lines[1:]])


def _groups(rungs: Sequence[Rung]) -> Iterator[str]:
    """The combinations in groups of identical numbers, and what tells the groups apart."""
    from gdexp.insight.ladder import comparison, groups, nearest

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
    from gdexp.insight.ladder import differs, multiple, without_factor

    apart, factor = differs(step, published), multiple(published, step)
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
        f"derivative of the loss. {_effect(published, step, factor)}"
    )
    yield from without_factor(published, step, factor)


def _effect(published: Rung, step: Rung, factor: float) -> str:
    """What the factor does to the descent, and to the largest lr."""
    from gdexp.descent.build import build
    from gdexp.insight.curvature import curvature
    from gdexp.insight.stability import largest_lr, rounded_down

    lr = step.job.settings["updater"].get("lr")
    text = f"lr={lr:g} acts like lr={lr * factor:g}" if lr else "Every step is so much longer"
    if published.outcome == "diverged":
        text += ", and diverges"
    elif step.outcome != "diverged" and published.trajectory.loss[-1] < step.trajectory.loss[-1]:
        text += ", so it converges faster here"
    built = build(step.job)
    quadratic = curvature(step.job, built)
    bounds = [quadratic and largest_lr(r.job, built, quadratic) for r in (published, step)]
    if bounds[0] and bounds[1]:
        one, other = (rounded_down(bound, 4) for bound in bounds if bound)
        text += f". It diverges above lr={one}, the other steps above {other}"
    return f"{text}."


def _wrapped(lines: Iterator[str] | Sequence[str]) -> str:
    """Paragraphs of at most 92 columns, all but the first indented."""
    first, *rest = lines
    blocks = [textwrap.fill(first, WIDTH, subsequent_indent="  ")]
    blocks += [textwrap.fill(f"  {line}", WIDTH, subsequent_indent="    ") for line in rest]
    return "\n".join(blocks)
