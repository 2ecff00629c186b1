"""Shared by the sub-commands: parsing arguments, reporting errors, printing."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from typing import NoReturn

from gdexp.commands import COMMANDS
from gdexp.descent.signals import handled
from gdexp.errors import GdexpError, Interrupted, did_you_mean

UNKNOWN = "unrecognized arguments: "  # how argparse's message starts


class Parser(argparse.ArgumentParser):
    """An argument parser that reports errors in one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where the help is, and exit."""
        if message.startswith(UNKNOWN):
            word, *_ = message.removeprefix(UNKNOWN).split(maxsplit=1)
            known = [text for action in self._actions for text in action.option_strings]
            nearest = did_you_mean(word.partition("=")[0], known) if word[0] == "-" else ""
            message = f"unrecognized argument {word}.{nearest}"
        else:
            message += "."
        command = self.prog.rpartition(" ")[2]
        print(f"gdexp: {command}: {message} {self.prog} --help lists its options.", file=sys.stderr)
        sys.exit(2)


def parser(command: str, *, single: bool = False) -> Parser:
    """Make the parser of a command that takes runs, a store and an experiment.

    Args:
        command: its name in :data:`gdexp.commands.COMMANDS`.
        single: whether it takes exactly one run.
    """
    line = COMMANDS[command]
    made = Parser(prog=f"python -m gdexp {command}", description=f"{line[0].upper()}{line[1:]}.")
    newest = "the last sweep if the newest run belongs to one, else the newest 20 runs"
    made.add_argument(
        "runs",
        nargs=1 if single else "*",
        type=_run_id,
        metavar="RUN_ID",
        help="a run's id, or its first characters" + ("" if single else f" (default: {newest})"),
    )
    made.add_argument("--uri", help="the store (default: MLFLOW_TRACKING_URI, else outputs/)")
    made.add_argument(
        "--experiment", metavar="NAME", help="default: MLFLOW_EXPERIMENT_NAME, else gdexp"
    )
    return made


def _run_id(text: str) -> str:
    if "=" in text:
        raise argparse.ArgumentTypeError(
            f"{text} is a setting, not a run's id. To run it, type python -m gdexp "
            f"{shlex.quote(text)}"
        )
    return text


def guarded(action: Callable[[], int]) -> int:
    """Run a command; a GdexpError is printed on stderr, and the exit code is 2."""
    try:
        with handled():
            return action()
    except Interrupted as stop:
        return stop.exit_code
    except GdexpError as error:
        print(f"gdexp: {error}", file=sys.stderr)
        return 2


def show(text: str) -> None:
    """Print on stdout; a reader that stops early (``| head``) is not an error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
