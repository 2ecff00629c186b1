"""What a git checkout has that no commit has: staged, unstaged and untracked changes as a diff."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gdexp.config.paths import OUTPUTS

LARGE = 2**20  # bytes; of a larger untracked file the time of its last change counts
TOTAL = 2**25  # bytes of untracked files that are read; of further ones the time counts, too
SECONDS = 5  # that git may take
TRACKED = ("diff-index", "--patch", "--full-index", "--no-ext-diff", "--no-textconv", "HEAD")
UNTRACKED = ("ls-files", "--others", "--exclude-standard", "-z")


@functools.lru_cache(maxsize=1)
def diff(folder: str) -> bytes | None:
    """The uncommitted changes in the checkout that holds a folder.

    What runs write, ``outputs/`` in that folder, is left out. Binary and large files are named with
    their size and a digest, or the time of their last change.

    Returns:
        None if git cannot tell, or takes longer than five seconds.
    """
    try:
        root = os.fsdecode(_git(folder, "rev-parse", "--show-toplevel").rstrip(b"\n"))
        outputs = os.path.relpath(os.path.join(os.path.realpath(folder), OUTPUTS), root)
        tracked = _git(root, *TRACKED)
        names = _git(root, *UNTRACKED, "--", ".", f":(exclude,literal){outputs}").split(b"\0")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return tracked + b"".join(_added(root, sorted(map(os.fsdecode, filter(None, names)))))


def _git(folder: str, *words: str) -> bytes:
    done = subprocess.run(
        ["git", *words], capture_output=True, timeout=SECONDS, cwd=folder, check=True
    )
    return done.stdout


def _added(root: str, names: list[str]) -> Iterator[bytes]:
    """Each untracked file as a diff that adds it."""
    left = TOTAL
    for name in names:
        path, shown = Path(root, name), os.fsencode(name)
        yield b"diff --git a/%b b/%b\nnew file mode 100644\n" % (shown, shown)
        try:
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and state.st_size <= min(left, LARGE):
                left -= state.st_size
                yield _lines(path.read_bytes(), shown)
            else:
                yield f"{state.st_size} bytes, changed {state.st_mtime_ns}\n".encode()
        except OSError:  # it has just been deleted, or may not be read
            yield b"unreadable\n"


def _lines(content: bytes, shown: bytes) -> bytes:
    """The lines of a new file; of a binary one its size and digest."""
    if not content:
        return b""
    if b"\0" in content:
        return f"{len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n".encode()
    lines = content.removesuffix(b"\n").split(b"\n")
    text = b"".join(b"+%b\n" % line for line in lines)
    if not content.endswith(b"\n"):
        text += b"\\ No newline at end of file\n"
    return b"--- /dev/null\n+++ b/%b\n@@ -0,0 +1,%d @@\n" % (shown, len(lines)) + text
