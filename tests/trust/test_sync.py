"""``python -m gdexp sync``: what it delivers, what it leaves, and how it names a store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import CLI
from tracking_helpers import finished, lived

from gdexp.config.paths import relative
from gdexp.descent import archive
from gdexp.tracking import spool
from gdexp.tracking.connect import connect

URI = "sqlite:///outputs/mlflow.db"


def spooled(*records: Any, uri: str = URI) -> list[Path]:
    """Each record in a file of its own."""
    return [spool.save(spool.folder(), uri, "gdexp", [record]) for record in records]


def test_nothing_to_deliver(cli: CLI, workdir: Path) -> None:
    ended = cli("sync")
    assert (ended.code, ended.out) == (0, "nothing to deliver in outputs/spool\n")
    assert list(workdir.iterdir()) == []


def test_all_runs_are_delivered_and_named(cli: CLI, store: Path) -> None:
    run, other = finished(), finished(1, name="other")
    spooled(run, *(record for (record,) in lived()), other)
    ended = cli("sync")
    assert ended.code == 0
    assert ended.err == "delivered 3 runs\n"
    assert f"other: run {other.run_id} in experiment gdexp of {URI}\n" in ended.out
    assert len(connect({}).runs()) == 4
    assert spool.files(spool.folder()) == []


def test_another_command_delivers_too(cli: CLI, store: Path) -> None:
    spooled(finished())
    ended = cli("compare", "--all")
    assert ended.code == 0
    assert "delivered 1 run from outputs/spool\n" in ended.err
    assert len(ended.out.splitlines()) == 4


def test_a_store_that_was_deleted_is_told_what_is_kept_for_it(cli: CLI, workdir: Path) -> None:
    spooled(finished(1))
    assert cli("compare").err == (
        "gdexp: nothing recorded yet: outputs/mlflow.db does not exist; python -m gdexp sync "
        "delivers what outputs/spool keeps for it.\n"
    )
    assert cli("sync").code == 0
    assert cli("compare").code == 0


def changed(path: Path, **news: Any) -> None:
    """Change the description in a file."""
    parts = archive.unpack(path.read_bytes())
    head = json.loads(parts["gdexp_spool"].tobytes()) | news
    parts["gdexp_spool"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    path.write_bytes(archive.pack(parts))


def head_of(path: Path) -> dict[str, Any]:
    parts = archive.unpack(path.read_bytes())
    head: dict[str, Any] = json.loads(parts["gdexp_spool"].tobytes())
    return head


def renamed_run(path: Path) -> None:
    (record,) = head_of(path)["records"]
    changed(path, records=[record | {"run_id": "../../x"}])


def lengthened(path: Path) -> None:
    (record,) = head_of(path)["records"]
    changed(path, records=[record | {"artifacts": [["a", 10**9]]}])


def unfinished(path: Path) -> None:
    (record,) = head_of(path)["records"]
    del record["status"]
    changed(path, records=[record])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-200]), "it is not a whole .npz archive"),
    "empty": (lambda p: p.write_bytes(b""), "it is not a whole .npz archive"),
    "text": (lambda p: p.write_text("hello"), "it is not a whole .npz archive"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), "Is a directory"),
    "foreign": (lambda p: p.write_bytes(archive.pack({"a": 1})), "it has no 'gdexp_spool'"),
    "newer": (lambda p: changed(p, version=2), "it has the format 2, and this gdexp reads 1"),
    "a way up": (renamed_run, "'../../x' is not a run's id"),
    "too long": (lengthened, "it lacks some of its points or files"),
    "a part": (unfinished, "it is not a spool file of gdexp"),
    "no store": (lambda p: changed(p, address=None), "it does not name its store"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_and_left(damage: str, cli: CLI, store: Path) -> None:
    harm, reason = DAMAGES[damage]
    bad, _ = spooled(finished(1), finished(2))
    harm(bad)
    ended = cli("sync")
    assert ended.code == 0
    first, last = ended.err.splitlines()
    assert first.startswith(f"gdexp: {relative(bad)} is left: {reason}")
    assert last == "delivered 1 run; 1 file left"
    assert [path.name for path in spool.files(spool.folder())] == [bad.name]
    assert not (store.parent / "x").exists()
    again = cli("sync")
    assert again.code == 2
    assert again.err.splitlines()[-1] == "delivered 0 runs; 1 file left"


def test_a_file_cut_off_anywhere_is_never_read(workdir: Path) -> None:
    (path,) = spooled(finished())
    content = path.read_bytes()
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"^it is not a whole \.npz archive"):
            spool.read(path)


def test_what_a_store_refuses_is_left_with_all_later_files_of_its_run(
    cli: CLI, store: Path
) -> None:
    (opened,), (fed,), *_ = lived()
    from dataclasses import replace

    spooled(replace(opened, params={"a,b": "1"}), finished(), fed)
    ended = cli("sync")
    assert ended.code == 0
    refused, later, last = ended.err.splitlines()
    assert "MLflow does not allow the key 'a,b'" in refused
    assert later.endswith("is left: an earlier file of the same run is left.")
    assert last == "delivered 1 run; 2 files left"


def test_a_store_that_is_gone_is_named(cli: CLI, workdir: Path) -> None:
    spooled(finished(), uri=f"sqlite:///{workdir}-elsewhere/runs.db")
    ended = cli("sync")
    assert ended.code == 2
    assert f"its store was in {workdir}-elsewhere, which does not exist" in ended.err
    spooled(finished(), uri="postgresql://me:secret@127.0.0.1:1/runs")
    ended = cli("sync", "--uri", "postgresql://me:secret@127.0.0.1:1/runs")
    assert ended.code == 2
    assert "does not answer (Connection refused)" in ended.err
    assert "secret" not in ended.err


def test_the_spool_knows_no_password(workdir: Path) -> None:
    uris = {
        "postgresql://me:s3cret@h:1/d?sslpassword=s3cret": "postgresql://me@h:1/d",
        "postgresql+psycopg://me:s3cr%40et@h/d": "postgresql://me@h/d",
        "https://me:s3cret@h/base/": "https://h/base",
    }
    for uri, address in uris.items():
        (path,) = spooled(finished(), uri=uri)
        assert spool.read(path).address == address
        assert spool.address_of(address) == address
        assert not any(word in path.read_bytes() for word in (b"s3cret", b"s3cr"))


def test_a_working_folder_can_be_moved_with_its_spool(
    cli: CLI, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(finished())
    shutil.copytree(store / "outputs", store / "moved" / "outputs")
    monkeypatch.chdir(store / "moved")
    assert cli("sync").err == "delivered 1 run\n"


def test_bad_arguments(cli: CLI, workdir: Path) -> None:
    ended = cli("sync", "--url", "x")
    assert ended.code == 2
    assert "unrecognized argument --url. Did you mean --uri?" in ended.err
    ended = cli("sync", "--uri", "runs.db")
    assert ended.code == 2
    assert "'runs.db' is not a store URI" in ended.err
