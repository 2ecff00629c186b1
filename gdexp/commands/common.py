"""What the sub-commands share: their arguments, their exit codes, printing."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from gdexp.descent.signals import handled
from gdexp.errors import GdexpError, Interrupted
from gdexp.tracking.query import NEWEST


def parser(name: str, description: str, *, one: bool = False) -> argparse.ArgumentParser:
    """A command line that names runs, or one run, a store and an experiment."""
    found = argparse.ArgumentParser(prog=f"python -m gdexp {name}", description=description)
    default = f"last sweep if the newest run belongs to one, else the newest {NEWEST} runs"
    found.add_argument(
        "runs",
        nargs=1 if one else "*",
        metavar="RUN_ID",
        help="a run's id, or its beginning" + ("" if one else f" (default: the {default})"),
    )
    found.add_argument("--uri", help="the store (default: MLFLOW_TRACKING_URI, else outputs/)")
    found.add_argument(
        "--experiment", metavar="NAME", help="default: MLFLOW_EXPERIMENT_NAME, else gdexp"
    )
    return found


def guarded(action: Callable[[], int]) -> int:
    """The exit code of a command; what is wrong with its input becomes a sentence and a 2."""
    try:
        with handled():
            return action()
    except Interrupted as stop:
        return stop.exit_code
    except GdexpError as error:
        print(f"gdexp: {error}", file=sys.stderr)
        return 2


def show(text: str) -> None:
    """Print on stdout, to a reader who may have seen enough (``| head``)."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
