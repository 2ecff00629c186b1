"""A run's files read back: whole ones give the run's own predictor, damaged ones a sentence."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import clean_environment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.config.trust import Trust
from gdexp.descent.archive import pack, unpack
from gdexp.descent.build import build
from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.errors import ConfigError
from gdexp.tracking.curves import parquet

X = np.array([[1.0, -2.0], [0.5, 3.0]])
KINDS = {
    "by hand": ["step=manual", "predictor.bias=true", "dtype=float64"],
    "autograd": ["step=autograd"],
    "mlp": ["step=model", "predictor=mlp"],
}
SOURCE = ("data=synthetic", "data.features=2", "data.standardize=true")


def fitted_of(kind: str) -> Fitted:
    """A predictor at its start, scaled, with two features."""
    with session():
        typed = [*KINDS[kind], *SOURCE]
        job = Job.of(Composer().compose(typed), typed)
    return Fitted.of(job, build(job))


WHOLE = {kind: fitted_of(kind) for kind in KINDS}
PACKED = {kind: fitted.packed() for kind, fitted in WHOLE.items()}
ANSWERS = {kind: fitted(X) for kind, fitted in WHOLE.items()}


def trajectory_file(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


W = [0.25, 0.5, 0.75]
TRAJECTORY = trajectory_file(**{"epoch": [1, 2, 3], "train/loss": W, "param/w": W})


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_gives_the_same_predictions(kind: str) -> None:
    assert np.array_equal(read_fitted(PACKED[kind])(X), ANSWERS[kind])


def test_a_trajectory_ends_with_its_last_epoch(workdir: Path) -> None:
    from gdexp import run

    result = run("step=manual", "predictor.bias=true", "iters=7", "tracking=off")
    assert read_last_epoch(parquet(result.trajectory), 7) == result.parameters
    assert read_last_epoch(TRAJECTORY, 3) == {"w": 0.75}


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cut, flip, replace or insert bytes; where is a share of the length."""
    kind = draw(st.sampled_from(["cut", "flip", "replace", "insert", "drop"]))
    where = draw(st.floats(0, 1, exclude_max=True))
    other = draw(st.binary(min_size=1, max_size=40))
    bit = 1 << draw(st.integers(0, 7))

    def mutate(content: bytes) -> bytes:
        i = int(where * len(content))
        match kind:
            case "cut":
                return content[:i]
            case "flip":
                return content[:i] + bytes([content[i] ^ bit]) + content[i + 1 :]
            case "replace":
                return content[:i] + other + content[i + len(other) :]
            case "insert":
                return content[:i] + other + content[i:]
        return content[:i] + content[i + len(other) :]

    return mutate


def attempt(read: Callable[[], Any]) -> Any:
    """What was read, or the message of its refusal."""
    try:
        return read()
    except ValueError as error:
        return str(error)


def is_sentence(result: Any) -> bool:
    return isinstance(result, str) and len(result) > 5


many = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", KINDS)
@many
@given(mutate=mutations())
def test_a_damaged_predictor_is_refused_or_unchanged(
    kind: str, mutate: Callable[[bytes], bytes]
) -> None:
    result = attempt(lambda: read_fitted(mutate(PACKED[kind]))(X))
    assert is_sentence(result) or np.array_equal(result, ANSWERS[kind])


@many
@given(mutate=mutations())
def test_a_damaged_trajectory_is_refused_or_gives_finite_numbers(
    mutate: Callable[[bytes], bytes],
) -> None:
    result = attempt(lambda: read_last_epoch(mutate(TRAJECTORY), 3))
    assert is_sentence(result) or all(np.isfinite(value) for value in result.values())


CONFIG = "".join(
    f"{family}:\n  _target_: gdexp.manual.{family.title()}\n"
    for family in ("predictor", "gradient", "loss", "updater")
) + ("data:\n  _target_: gdexp.data.points\ndtype: float32\nseed: 0\niters: 3\n")


@many
@given(mutate=mutations())
def test_a_damaged_config_is_refused_or_still_has_what_is_needed(
    mutate: Callable[[bytes], bytes],
) -> None:
    result = attempt(lambda: read_config(mutate(CONFIG.encode())))
    assert is_sentence(result) or isinstance(result["predictor"]["_target_"], str)


def changed(**parts: Any) -> bytes:
    """The file by hand with other parts; ... leaves one out."""
    kept = unpack(PACKED["by hand"]) | parts
    return pack({name: part for name, part in kept.items() if part is not ...})


def with_settings(**other: Any) -> bytes:
    kept = unpack(PACKED["by hand"])["settings"] | other
    return changed(settings={name: value for name, value in kept.items() if value is not ...})


def archive(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def array(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value), allow_pickle=True)
    return file.getvalue()


def tree(node: Any, **arrays: Any) -> bytes:
    members = {name: array(value) for name, value in arrays.items()}
    return archive(json=array(json.dumps(node)), **members)


class Runs:
    """Runs code if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("ran"),))


W2 = np.array([1.0, 2.0])
B = 0.5
MANUAL = "gdexp.manual.Predictor"
NOT_READ: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is not a whole .npz archive (File is not a zip file)"),
    "text": (b"w,b\n1,2\n", "it is not a whole .npz archive (File is not a zip file)"),
    "truncated": (PACKED["mlp"][:-30], "it is not a whole .npz archive (File is not a zip file)"),
    "array": (array(W2), "it is not a whole .npz archive (File is not a zip file)"),
    "no members": (archive(), "it has no member 'json'"),
    "bomb": (
        archive(zipfile.ZIP_DEFLATED, json=bytes(10_000_000)),
        "its members are larger than the file",
    ),
    "pickle": (
        archive(json=array(Runs())),
        "its member 'json.npy' holds neither numbers nor text",
    ),
    "pickled array": (
        tree({"array": "a0"}, a0=Runs()),
        "its member 'a0.npy' holds neither numbers nor text",
    ),
    "not json": (
        archive(json=array("{")),
        "its JSON cannot be read (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1))",
    ),
    "deep json": (
        archive(json=array('{"list": [' * 9999 + "]}" * 9999)),
        "its JSON is nested too deeply",
    ),
    "unknown kind": (tree({"code": 1}), "its JSON has a node of the unknown kind 'code'"),
    "two kinds": (
        tree({"list": [], "dict": []}),
        "a node of its JSON does not have exactly one kind",
    ),
    "no array": (tree({"array": "a7"}), "it has no member 'a7'"),
    "bytes": (
        archive(json=array('{"array": "a0"}'), a0=b"os.system"),
        "its member 'a0.npy' is not an array",
    ),
    "list": (pack([1]), "it is not a mapping"),
    "lacks a part": (changed(features=...), "it has no 'features'"),
    "settings": (changed(settings=3), "settings is not a mapping"),
    "lacks a setting": (with_settings(seed=...), "it has no setting 'seed'"),
    "odd setting": (with_settings(seed=-1), "seed: -1 is not a whole number from 0 to 4294967295"),
    "dtype": (with_settings(dtype="int8"), "dtype: 'int8' is not one of float32, float64"),
    "family": (with_settings(loss="MSE"), "loss is not a mapping"),
    "no target": (with_settings(loss={}), "loss has no _target_"),
    "features": (changed(features=(1, 2)), "its features are not a list of names"),
    "no features": (changed(features=()), "its features are not a list of names"),
    "outputs": (changed(outputs=0), "its number of outputs is 0"),
    "outputs as text": (changed(outputs="1"), "its number of outputs is '1'"),
    "too many outputs": (
        changed(outputs=2),
        "it predicts shape (1,) for one row, not (1, 2)",
    ),
    "scaling": (changed(scaling=3.0), "its scaling is not a mean and a scale"),
    "long scaling": (changed(scaling=(np.ones(3), np.ones(3))), "its scaling is not 2 numbers"),
    "text scaling": (
        changed(scaling=(np.array(["a", "b"]), W2)),
        "its scaling is not 2 numbers",
    ),
    "NaN scaling": (changed(scaling=(W2 * np.nan, W2)), "its scaling is not finite"),
    "zero scaling": (changed(scaling=(W2, W2 * 0)), "its scaling is not positive"),
    "state": (changed(state=[W2, B]), "its state is not a mapping"),
    "no state": (
        changed(state={}),
        "its state does not fit the predictor (its parameters are none, not b, w)",
    ),
    "long state": (
        changed(state={"w": np.ones(3), "b": B}),
        "its state does not fit the predictor (w has shape (3,))",
    ),
    "text state": (
        changed(state={"w": np.array(["1", "2"]), "b": B}),
        "its state does not fit the predictor (w does not hold finite numbers)",
    ),
    "NaN state": (
        changed(state={"w": W2, "b": float("nan")}),
        "its state does not fit the predictor (b does not hold finite numbers)",
    ),
    "a smaller model": (
        pack(unpack(PACKED["mlp"]) | {"state": {"weight": W2}}),
        "its state does not fit the predictor: it has 2 numbers, not 65",
    ),
    "another model": (
        pack(unpack(PACKED["mlp"]) | {"state": {"weight": np.ones(65)}}),
        "its state does not fit the predictor (Error(s) in loading state_dict for Sequential:",
    ),
}


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_wrong_with_a_predictor_is_named(name: str, workdir: Path) -> None:
    content, sentence = NOT_READ[name]
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}") as caught:
        read_fitted(content)
    assert not isinstance(caught.value, ConfigError)
    assert not any(workdir.iterdir())


def test_a_class_that_is_gone_is_no_damage() -> None:
    sentence = "predictor: no_such_module.Net cannot be imported: No module named 'no_such_module'"
    gone = with_settings(predictor={"_target_": "no_such_module.Net"})
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        read_fitted(gone, Trust(("no_such_module.*",)))
    with pytest.raises(ConfigError, match="unexpected keyword argument 'depth'"):
        read_fitted(with_settings(predictor={"_target_": MANUAL, "depth": 3}))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is not a mapping"),
        (b"- a\n- b\n", "it is not a mapping"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode byte 0xff in position 0"),
        (b"a: [1\n", "it is not YAML (while parsing a flow sequence"),
        (b"[" * 5000 + b"]" * 5000, "it has aliases or is nested too deeply"),
        (b"a: !!python/object/apply:os.system ['touch ran']", "it is not YAML (could not determ"),
        (b"a: &x [1]\nb: *x\n", "it has aliases or is nested too deeply"),
        (CONFIG.replace("loss:", "lost:").encode(), "it has no setting 'loss'"),
        (CONFIG.replace("seed: 0", "seed: x").encode(), "seed: 'x' is not a whole number from 0"),
        (CONFIG.replace("iters: 3", "iters: 0").encode(), "iters: 0 is not a whole number from 1"),
        (CONFIG.replace("  _target_: gdexp.data", "  path: gdexp.data").encode(), "data has no"),
    ],
)
def test_what_is_wrong_with_a_config_is_named(content: bytes, sentence: str, workdir: Path) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        read_config(content)
    assert not any(workdir.iterdir())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it cannot be read as Parquet ("),
        (b"PAR1" * 9, "it cannot be read as Parquet ("),
        (TRAJECTORY[:-20], "it cannot be read as Parquet ("),
        (trajectory_file(loss=W), "it has no column epoch"),
        (trajectory_file(epoch=[1, 2, 3]), "it has no column param/w"),
        (
            trajectory_file(**{"epoch": [1, 2, 3], "param/w": ["a", "b", "c"]}),
            "the last value of its column 'param/w' is 'c'",
        ),
        (
            trajectory_file(**{"epoch": [1, 2, 3], "param/w": [1.0, 2.0, None]}),
            "the last value of its column 'param/w' is None",
        ),
        (
            trajectory_file(**{"epoch": [1, 2, 3], "param/w": [1.0, 2.0, np.inf]}),
            "the last value of its column 'param/w' is inf",
        ),
        (
            trajectory_file(**{"epoch": [1, 2, 4], "param/w": W}),
            "its last epoch is not 3, the number of its rows",
        ),
        (
            trajectory_file(**{"epoch": range(1, 10), "param/w": np.ones(9)}),
            "it has 9 epochs, more than iters=3",
        ),
    ],
)
def test_what_is_wrong_with_a_trajectory_is_named(content: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        read_last_epoch(content, 3)


def test_reading_a_trajectory_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(TRAJECTORY)
    code = (
        "import os, pathlib, pyarrow.parquet, gdexp.descent.fitted_files as f\n"
        "def workers():\n"
        "    comms = pathlib.Path('/proc/self/task').glob('*/comm')\n"
        "    return sum('jemalloc' not in path.read_text() for path in comms)\n"
        "before = workers()\n"
        "assert f.read_last_epoch(open('t.parquet', 'rb').read(), 3) == {'w': 0.75}\n"
        "assert workers() == before, [before, workers()]\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=clean_environment(), capture_output=True
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_trajectory_without_epochs_gives_nothing() -> None:
    columns = {"epoch": pa.array([], pa.int64()), "param/w": pa.array([], pa.float64())}
    assert read_last_epoch(trajectory_file(**columns), 3) == {}


def test_a_trajectory_of_other_parameters_does_not_fit() -> None:
    config = read_config(CONFIG.encode())
    with pytest.raises(ValueError, match="its parameters are b, w, not w"):
        Fitted.rebuilt(config, {"w": 1.0, "b": 2.0})
    assert Fitted.rebuilt(config, {"w": 2.0})(np.array([[3.0]])) == [6.0]
