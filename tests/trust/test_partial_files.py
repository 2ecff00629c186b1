"""Closing a run whose process died removes the file that it was writing, and no other."""

from __future__ import annotations

from pathlib import Path

from gdexp.tracking.artifacts import local_path
from gdexp.tracking.connect import connect


def test_a_partial_file_of_a_dead_run_is_removed(store: Path) -> None:
    opened = connect({})
    (run,) = opened.runs()
    folder = local_path(run.artifact_uri)
    assert folder is not None
    (folder / "checkpoints").mkdir(parents=True)
    for name in (".00003000.npz.partial", "00002000.npz"):
        (folder / "checkpoints" / name).touch()
    assert opened.interrupt(run, run.start_ms, {"gdexp.outcome": "interrupted"})
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["00002000.npz"]
