"""The command line, a signal reaching it at a chosen moment: ``python _signalled.py < PLAN``.

The plan is JSON: ``words`` of the command line, ``source`` (a folder to start from, of which every
process gets a copy), ``target`` (where the copies go), ``moments``, each with its signal, and
``patches`` (values for names of modules). A moment is a number of lines that gdexp's own code has
executed; the process of moment 0 gets no signal. Every moment has a process, forked from this one,
so that importing is paid once. On stdout: for every moment the exit code, how many lines there
were, and of each line of code the first and the last moment.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import gdexp

PACKAGE = str(Path(gdexp.__file__).parent)


def preload() -> None:
    for module in pkgutil.walk_packages(gdexp.__path__, "gdexp."):
        if not module.name.startswith(("gdexp.pytorch", "gdexp.__main__", "gdexp.sweep.plugins")):
            importlib.import_module(module.name)
    importlib.import_module("pyarrow.parquet")


class Watch:
    """Counts lines of gdexp's code, and has the signal arrive before one of them.

    The handler is called as Python calls it between two instructions, so that every line of every
    file can be such a moment, also those in which a real signal seldom arrives.
    """

    def __init__(self, signum: int, moment: int) -> None:
        self.signum, self.moment, self.count = signum, moment, 0
        self.lines: dict[tuple[str, int], list[int]] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self.step if frame.f_code.co_filename.startswith(PACKAGE) else None

    def step(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event != "line":
            return self.step
        self.count += 1
        if not self.moment:
            seen = self.lines.setdefault((frame.f_code.co_filename, frame.f_lineno), [])
            seen[1:] = [self.count]  # the first time and the last
        elif self.count == self.moment:
            sys.settrace(None)
            handler = signal.getsignal(self.signum)
            assert callable(handler)
            handler(self.signum, frame)
        return self.step


def child(plan: dict[str, Any], moment: int, signum: int, folder: Path) -> NoReturn:
    shutil.copytree(plan["source"], folder)
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    for name, value in plan["patches"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    from gdexp.__main__ import main

    sys.argv = ["gdexp", *plan["words"]]
    watch, code = Watch(signum, moment), -1
    sys.settrace(watch)
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.settrace(None)
        Path("told").write_text(json.dumps([watch.count, [*watch.lines.values()]]))
        sys.stdout.flush()
        sys.excepthook(*sys.exc_info()) if code < 0 else None  # type: ignore[arg-type]
        os._exit(code if code >= 0 else 99)


if __name__ == "__main__":
    plan = json.load(sys.stdin)
    preload()
    told = []
    for moment, signum in plan["moments"]:
        folder = Path(plan["target"], str(moment))
        pid = os.fork()
        if not pid:
            child(plan, moment, signum, folder)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        ended = folder / "told"  # missing where the process has ended at once
        told.append(
            [moment, code, *(json.loads(ended.read_text()) if ended.exists() else [None, []])]
        )
    json.dump(told, sys.stdout)
