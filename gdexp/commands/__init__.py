"""The command line: one module per sub-command, named after it.

To add a command, add a line to :data:`COMMANDS` and a module with ``main(argv) -> exit code``.
"""

from __future__ import annotations

import importlib
import io
import os
import sys

COMMANDS = {
    "compare": "show recorded runs side by side, as a table",
    "ui": "show recorded runs in the browser, until Ctrl-C",
    "plot": "draw recorded runs or a sweep, as SVG or PNG",
    "report": "write one page on a run or a sweep, to open or hand on",
    "diff": "say how two recorded runs differ, and what can explain it",
    "explain": "show one epoch of a recorded run in numbers",
    "forecast": "say which learning rates converge, without running",
    "ladder": "run the tutorial's four steps from one start and compare their numbers",
    "replay": "run a recorded run again and compare every epoch",
    "predict": "add a recorded run's predictions to the rows of a table",
    "repair": "record the end of runs whose process is gone, after asking",
    "sync": "deliver runs that are kept in outputs/spool, as their store could not be written",
}


def main() -> None:
    """Run the command named by the first word, else an experiment; exit with its code."""
    for stream in (sys.stdout, sys.stderr):  # print R² as R\\xb2 where it cannot be encoded
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # torch's threads wait asleep: awake, they take the processor from whom they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:]
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    if any("://" in word for word in words):
        words = _without_passwords(words)
    if words and words[0] in COMMANDS:
        command = importlib.import_module(f"gdexp.commands.{words[0]}")
        sys.exit(command.main(words[1:]))
    from gdexp.commands import run

    run.main(words)


def _without_passwords(words: list[str]) -> list[str]:
    """The words without the passwords of their URIs, before anything reads or records them."""
    from gdexp.config.passwords import of_words
    from gdexp.errors import ConfigError

    try:
        sys.argv[1:] = words = list(of_words(words))
    except ConfigError as error:
        print(f"gdexp: {error}", file=sys.stderr)
        sys.exit(2)
    return words
