"""The command line: one module for each sub-command."""

from __future__ import annotations

import importlib
import sys

COMMANDS = ("compare", "ui", "predict")


def main() -> None:
    """Run the command that the first word names, or an experiment, and end with its exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        command = importlib.import_module(f"gdexp.commands.{sys.argv[1]}")
        sys.exit(command.main(sys.argv[2:]))
    from gdexp.commands import run

    run.main()
