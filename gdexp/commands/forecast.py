"""``python -m gdexp forecast``: which learning rates converge, and how fast, without running.

The arguments are those of a run or a sweep, and are checked as if it were to start.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gdexp.commands import common
from gdexp.descent.numbers import apart
from gdexp.errors import ConfigError, counted

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from gdexp.config.job import Job
    from gdexp.insight.dynamics.forecast import Forecast

LISTED = 100  # runs of a sweep
DIGITS = 4


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    if {"-h", "--help"} & {*argv}:
        _parser().parse_args(["--help"])
    from gdexp.commands import run

    args = run.parsed(argv)
    flags = ("cfg", "info", "hydra_help", "shell_completion", "experimental_rerun")
    if used := [flag for flag in flags if getattr(args, flag, None)]:
        flag = f"--{used[0].replace('_', '-')}"
        run.refuse(f"forecast: {flag} is not for a forecast. Leave it out.")
        sys.exit(2)
    return run.guarded(args, _forecast)


def _parser() -> common.Parser:
    made = common.bare("forecast", "For example: python -m gdexp forecast step=manual lr=0.05")
    made.add_argument(
        "settings", nargs="*", metavar="SETTING", help="as of a run: GROUP=OPTION or KEY=VALUE"
    )
    made.add_argument("-m", "--multirun", action="store_true", help="forecast a sweep")
    made.add_argument("--config-dir", metavar="DIR", help="your own folder of options")
    made.add_argument("--config-name", metavar="NAME", help="your own root configuration")
    return made


def _forecast(args: Namespace) -> None:
    from gdexp.commands.forecast_page import page
    from gdexp.config.compose import session

    with session(args.config_dir):
        jobs = _jobs(args)
        is_run = jobs[0].number is None
        if not is_run:
            return common.show("\n".join(_table(jobs)))
        job, known, faults = _examined(jobs[0])
        return common.show("\n".join(page(job, known, [*faults.values()])))


def _jobs(args: Namespace) -> list[Job]:
    """The run, or the runs of a sweep, checked."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from hydra.types import RunMode

    from gdexp.commands import start
    from gdexp.config.compose import composing
    from gdexp.config.overrides import typed
    from gdexp.sweep.jobs import planned
    from gdexp.sweep.sweeper import listed

    with composing():
        try:
            config = start.composed(args)
        except HydraException as error:
            if args.multirun or "--multirun" not in str(error):
                raise
            args.multirun = True  # lr=0.01,0.1 without -m, as nothing will run
            config = start.composed(args)
    if config.hydra.mode is not RunMode.MULTIRUN:
        return [start.checked_job(config)]
    start.check(config, multirun=True)
    _check_sweeper(config)
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    return planned(config, loader, listed(config, loader, [*params, *typed(config)]))


def _check_sweeper(config: DictConfig) -> None:
    """Refuse a sweeper that chooses the runs while it runs them."""
    if not str(config.hydra.sweeper._target_).endswith(".GridSweeper"):
        name = config.hydra.runtime.choices["hydra/sweeper"]
        raise ConfigError(
            f"hydra/sweeper={name}: it chooses the runs while they run. Leave it out, and name "
            "the values to forecast, as in lr=0.01,0.1."
        )


def _examined(job: Job) -> tuple[Job, Forecast | str, dict[str, str]]:
    """The run, with the settings of what it continues, its forecast or why not, and its faults."""
    from gdexp.experiment import assembled
    from gdexp.insight.checks import gradient
    from gdexp.insight.dynamics.forecast import examine

    new, built, _ = assembled(job)
    known = examine(new, built)
    if getattr(known, "motion", None) and gradient.undeclared_multiple(new, built) == 1:
        return new, known, {}  # what is declared, such as a sum, is part of the forecast
    return new, known, {kind: note for kind, note in gradient.notes(new, built).items() if note}


def _table(jobs: Sequence[Job]) -> Iterator[str]:
    """A line for each run of a sweep."""
    rows: list[list[str]] = [["", "lr", "largest lr", "contraction", "epochs", "10x in epoch"]]
    from gdexp.insight.dynamics.stability import rounded_down, shown_lr

    reasons: Counter[str] = Counter()
    faults: dict[str, str] = {}
    for job in jobs[:LISTED]:
        new, known, wrong = _examined(job)
        faults = wrong | faults
        name = " ".join(job.typed) or "defaults"
        if isinstance(known, str):
            reasons[known] += 1
            rows.append([name, "", "none", "", "", ""])
            continue
        largest = "unknown" if known.largest_lr is None else rounded_down(known.largest_lr, DIGITS)
        factor = "" if known.contraction is None else apart(known.contraction, 1, DIGITS)
        cells = ["" if known.lr is None else shown_lr(new, known.lr), largest, factor]
        counts = known.epochs, known.exceeds_epoch
        rows.append([name, *cells, *("" if count is None else str(count) for count in counts)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join([f"{name:<{widths[0]}}", *aligned]).rstrip()
    for reason, count in reasons.items():
        yield f"no forecast of {counted(count, 'run')}: {reason}"
    if (more := len(jobs) - LISTED) > 0:
        yield f"and {counted(more, 'run')} more"
    yield from faults.values()
