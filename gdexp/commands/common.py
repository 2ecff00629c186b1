"""What the sub-commands share: how they read arguments, report errors and print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from gdexp.commands import COMMANDS
from gdexp.descent.signals import handled
from gdexp.errors import GdexpError, Interrupted, did_you_mean

UNKNOWN = "unrecognized arguments: "  # as argparse puts it


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and where to read on, and exit."""
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


def parser(command: str, *, one: bool = False) -> Parser:
    """The parser of a command that names runs, a store and an experiment.

    Args:
        command: its name in :data:`gdexp.commands.COMMANDS`.
        one: whether it takes exactly one run.
    """
    made = Parser(prog=f"python -m gdexp {command}", description=sentence(COMMANDS[command]))
    newest = "the last sweep if the newest run belongs to one, else the newest 20 runs"
    made.add_argument(
        "runs",
        nargs=1 if one else "*",
        metavar="RUN_ID",
        help="a run's id, or its beginning" + ("" if one else f" (default: {newest})"),
    )
    made.add_argument("--uri", help="the store (default: MLFLOW_TRACKING_URI, else outputs/)")
    made.add_argument(
        "--experiment", metavar="NAME", help="default: MLFLOW_EXPERIMENT_NAME, else gdexp"
    )
    return made


def sentence(line: str) -> str:
    """A line of :data:`gdexp.commands.COMMANDS` as a sentence.

    >>> sentence("show recorded runs")
    'Show recorded runs.'
    """
    return f"{line[0].upper()}{line[1:]}."


def guarded(action: Callable[[], int]) -> int:
    """Run a command; bad input becomes a sentence on stderr and exit code 2."""
    try:
        with handled():
            return action()
    except Interrupted as stop:
        return stop.exit_code
    except GdexpError as error:
        print(f"gdexp: {error}", file=sys.stderr)
        return 2


def show(text: str) -> None:
    """Print on stdout; a reader that stops early (``| head``) is no error."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
