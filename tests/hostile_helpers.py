"""For tests with damaged and hostile files: a hook that sees what reading them causes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.build import build
from gdexp.descent.fitted import Fitted

# What the hook sees. It cannot be removed, so it is switched.
STARTS = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen")
CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.chmod", "shutil.rmtree")
REACHES = ("socket.connect", "socket.bind", "urllib.Request", "pickle.find_class", "ctypes.dlopen")
LIBRARIES = {*sys.stdlib_module_names, "gdexp", "torch", "numpy", "pyarrow", "yaml", "omegaconf"}
_seen: list[str] = []
_watching = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watching:
        return
    if event in (*STARTS, *CHANGES, *REACHES):
        _seen.append(f"{event} {arguments[0]}")
    elif event == "open" and isinstance(arguments[1], str) and {*"wax+"} & {*arguments[1]}:
        _seen.append(f"writes {arguments[0]}")
    elif event == "import" and arguments[0].partition(".")[0] not in LIBRARIES:
        _seen.append(f"imports {arguments[0]}")


sys.addaudithook(_hook)


@contextmanager
def watched() -> Iterator[None]:
    """Fail if a process starts, a file changes, or a module of nobody's is imported."""
    global _watching
    _seen.clear()
    _watching = True
    try:
        yield
    finally:
        _watching = False
    assert _seen == []


def outcome(read: Callable[[], Any]) -> Any:
    """What was read, or the sentence of its refusal."""
    with watched():
        try:
            return read()
        except ValueError as error:
            return sentence(error)


def sentence(error: ValueError) -> str:
    text = str(error)
    assert text.strip(), repr(error)
    assert "\n" not in text
    assert len(text) < 1000
    return text


def composed(*typed: str) -> Job:
    with session():
        return Job.of(Composer().compose(typed), typed)


def fitted_of(*typed: str) -> Fitted:
    job = composed(*typed, "data=synthetic", "data.features=2", "data.rows=8")
    return Fitted.of(job, build(job))
