"""Damaged and hostile files: a sentence, and nothing runs, is imported or written meanwhile."""

from __future__ import annotations

import copy
import io
import re
import sys
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.descent.archive import pack, unpack
from gdexp.descent.build import build
from gdexp.descent.fitted import Fitted
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.experiment import prepare
from gdexp.experiment import run as computed
from gdexp.tracking.curves import parquet, read_parquet

Explore: TypeAlias = Callable[[st.SearchStrategy[Any], Callable[[Any], None]], None]

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


PREDICTORS = {
    "manual": fitted_of("step=manual", "predictor.bias=true").packed(),
    "mlp": fitted_of("step=model", "predictor=mlp", "predictor.sizes=[3]").packed(),
}
EVIL = [
    {"_target_": target, "_args_": ["touch ran"]}
    for target in ("os.system", "stranger.Net", "pandas.read_pickle", "gdexp.manual.np.load")
]
values = st.one_of(
    st.sampled_from([None, True, 0, -1, 10**400, 2**31, 1e308, float("nan"), float("-inf")]),
    st.sampled_from(["", "x", "${oc.env:HOME}", "???", "torch", "\x1b[31m\n", "a" * 5000]),
    st.sampled_from([[], {}, (), [[]], {"_target_": 3}, {"": ""}, {"_target_": "torch.nn.ReLU"}]),
    st.sampled_from(EVIL),
    st.sampled_from(
        [np.zeros(0), np.ones((2, 2), np.float32), np.array("x"), np.array(1j), np.bool_(True)]
    ),
    st.sampled_from([torch.ones(3), torch.zeros(2, 2, dtype=torch.int64), torch.ones(())]),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
)


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every node."""
    yield path
    if isinstance(node, dict | list | tuple):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(inner, (*path, key))


def replaced(node: Any, path: tuple[Any, ...], change: Callable[[Any], Any]) -> Any:
    """The tree with one node changed; ... removes it."""
    if not path:
        return change(node)
    inner = replaced(node[path[0]], path[1:], change)
    if isinstance(node, dict):
        rest = {key: value for key, value in node.items() if key != path[0]}
        return rest if inner is ... else rest | {path[0]: inner}
    items = [inner if i == path[0] else item for i, item in enumerate(node)]
    return type(node)(item for item in items if item is not ...)


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Any], Any]:
    """Replace, remove or wrap one or two nodes of a tree."""
    steps = draw(
        st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from("rrrdwk"), values),
            min_size=1,
            max_size=2,
        )
    )

    def change(tree: Any) -> Any:
        tree = copy.deepcopy(tree)
        for where, kind, value in steps:
            paths = list(places(tree))
            path = paths[int(where * len(paths))]
            effects: dict[str, Callable[[Any], Any]] = {
                "r": lambda old, new=value: new,
                "d": lambda old: ...,
                "w": lambda old: [old],
                "k": lambda old, new=value: (
                    {**old, "_target_": new} if isinstance(old, dict) else new
                ),
            }
            tree = replaced(tree, path, effects[kind]) if path or kind != "d" else {}
        return tree

    return change


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cut, flip, replace, insert or repeat bytes; where is a share of the length."""
    kind = draw(st.sampled_from(["cut", "flip", "replace", "insert", "repeat"]))
    where, other = draw(st.floats(0, 1, exclude_max=True)), draw(st.binary(min_size=1, max_size=9))

    def mutate(content: bytes) -> bytes:
        i = int(where * len(content))
        before, after = content[:i], content[i:]
        return {
            "cut": before,
            "flip": before + bytes([after[0] ^ other[0]]) + after[1:],
            "replace": before + other + after[len(other) :],
            "insert": before + other + after,
            "repeat": before + after + after,
        }[kind]

    return mutate


@pytest.fixture(params=[8, pytest.param(600, marks=pytest.mark.slow)])
def explore(request: pytest.FixtureRequest) -> Explore:
    """Try a function on a few drawn values; the slow tests try many."""
    many = settings(
        max_examples=request.param,
        phases=(Phase.explicit, Phase.generate),  # to shrink a case takes minutes
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    def tried(values: st.SearchStrategy[Any], attempt: Callable[[Any], None]) -> None:
        many(given(values)(attempt))()

    return tried


X = np.array([[1.0, -2.0]])


@pytest.fixture(autouse=True)
def stranger(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that may not be imported."""
    Path("stranger.py").write_text("class Net:\n    def __init__(self, *args): ...\n")
    monkeypatch.syspath_prepend(str(workdir))


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_predictor_of_other_parts(kind: str, explore: Explore) -> None:
    whole = unpack(PREDICTORS[kind])

    def attempt(change: Callable[[Any], Any]) -> None:
        content = pack(change(whole))
        result = outcome(lambda: read_fitted(content)(X))
        assert isinstance(result, str) or result.shape[0] == 1

    explore(changes(), attempt)


@pytest.mark.parametrize("kind", PREDICTORS)
def test_a_predictor_of_other_bytes(kind: str, explore: Explore) -> None:
    def attempt(mutate: Callable[[bytes], bytes]) -> None:
        outcome(lambda: read_fitted(mutate(PREDICTORS[kind]))(X))

    explore(mutations(), attempt)


CHECKPOINTS = {
    "manual": ("step=manual", "gradient=manual", "updater=manual_adam", "predictor.bias=true"),
    "adam": ("step=model", "updater=Adam", "data.y=[0,1,0,1]", "scheduler=StepLR"),
    "best": ("step=model", "predictor=mlp", "predictor.sizes=[2]", "data.validation=0.25"),
}


def checkpoint(*typed: str) -> bytes:
    run(*typed, "tracking=off", "iters=3", "checkpoint.every=3")
    (path,) = Path("outputs/checkpoints").glob("*/*.npz")
    return path.read_bytes()


def go_on(job: Job, content: bytes) -> None:
    """Continue a checkpoint; if it is not refused, the run comes to an end."""
    Path("odd.npz").write_bytes(content)
    ready = outcome(lambda: prepare(job))
    if not isinstance(ready, str):
        assert computed(ready).trajectory.length > 0


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_of_other_parts(kind: str, explore: Explore) -> None:
    extra = ("stop.patience=9",) if kind == "best" else ()
    whole = unpack(checkpoint(*CHECKPOINTS[kind], *extra))
    job = composed("tracking=off", "iters=5", "continue_from=odd.npz")
    explore(changes(), lambda change: go_on(job, pack(change(whole))))


def test_a_checkpoint_of_other_bytes(explore: Explore) -> None:
    whole = checkpoint(*CHECKPOINTS["adam"])
    job = composed("tracking=off", "iters=5", "continue_from=odd.npz")
    explore(mutations(), lambda mutate: go_on(job, mutate(whole)))


def test_a_trajectory_of_other_bytes(explore: Explore) -> None:
    whole = parquet(run("iters=20", "tracking=off").trajectory)

    def attempt(mutate: Callable[[bytes], bytes]) -> None:
        outcome(lambda: read_parquet(mutate(whole), 20))
        outcome(lambda: read_last_epoch(mutate(whole), 20))

    explore(mutations(), attempt)


def test_a_configuration_of_other_parts(explore: Explore) -> None:
    import yaml

    whole = composed("step=manual").settings

    def attempt(change: Callable[[Any], Any]) -> None:
        try:
            content = yaml.safe_dump(change(whole)).encode()
        except yaml.YAMLError:
            return  # arrays
        result = outcome(lambda: Fitted.rebuilt(read_config(content), {"w": 1.0}))
        assert isinstance(result, str | Fitted)

    explore(changes(), attempt)


SIZED = {
    "manual": {"predictor": {"_target_": "gdexp.manual.Predictor", "features": 10**9}},
    "wide": {"predictor": {"_target_": "gdexp.pytorch.MLP", "sizes": [1000, 1000]}},
    "deep": {"predictor": {"_target_": "gdexp.pytorch.MLP", "sizes": [900] * 500}},
    "layers": {
        "predictor": {
            "_target_": "torch.nn.TransformerEncoder",
            "num_layers": 10**8,
            "encoder_layer": {
                "_target_": "torch.nn.TransformerEncoderLayer",
                "d_model": 2,
                "nhead": 1,
                "dim_feedforward": 2,
            },
        }
    },
}


@pytest.mark.parametrize("kind", SIZED)
def test_a_predictor_is_no_larger_than_its_state(kind: str) -> None:
    parts = unpack(PREDICTORS["mlp"])
    content = pack(parts | {"settings": parts["settings"] | SIZED[kind]})
    assert re.fullmatch(
        r"predictor has a size of 10{8,9}, more than its state has|"
        r"its state does not fit the predictor: it has 13 numbers, not \d+",
        str(outcome(lambda: read_fitted(content))),
    )


def archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as made:
        warnings.simplefilter("ignore")  # of equal names
        for name, content in members:
            made.writestr(f"{name}.npy", content)
    return file.getvalue()


def member(dtype: str, shape: tuple[int, ...], data: bytes) -> bytes:
    """An array with a header that may state anything."""
    file = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def text(value: str) -> bytes:
    return member(f"<U{len(value)}", (), np.array(value).tobytes())


ONE = text('{"array": "a"}')
TWICE = text('{"list": [{"array": "a"}, {"array": "a"}]}')
EIGHT = bytes(8)
BOMBS: dict[str, tuple[bytes, str]] = {
    "huge shape": (
        archive([("json", ONE), ("a", member("<f8", (10**15,), EIGHT))]),
        "its member 'a.npy' does not have the size it states",
    ),
    "empty rows": (
        archive([("json", ONE), ("a", member("<f8", (10**15, 0), EIGHT))]),
        "its member 'a.npy' does not have the size it states",
    ),
    "negative shape": (
        archive([("json", ONE), ("a", member("<f8", (-1, -1), EIGHT))]),
        "its member 'a.npy' does not have the size it states",
    ),
    "no size": (
        archive([("json", ONE), ("a", member("<U0", (10**15,), b""))]),
        "its member 'a.npy' holds neither numbers nor text",
    ),
    "void": (
        archive([("json", ONE), ("a", member("|V8", (1,), EIGHT))]),
        "its member 'a.npy' holds neither numbers nor text",
    ),
    "dates": (
        archive([("json", ONE), ("a", member("<M8[s]", (1,), EIGHT))]),
        "its member 'a.npy' holds neither numbers nor text",
    ),
    "object": (
        archive([("json", ONE), ("a", member("|O", (1,), EIGHT))]),
        "its member 'a.npy' holds neither numbers nor text",
    ),
    "compressed": (
        archive([("json", ONE), ("a", member("<f8", (1,), EIGHT))], zipfile.ZIP_LZMA),
        "its members are compressed",
    ),
    "same name": (
        archive([("json", ONE), ("a", ONE), ("a", ONE)]),
        "two of its members have the same name",
    ),
    "used twice": (
        archive([("json", TWICE), ("a", member("<f8", (1,), EIGHT))]),
        "it has no member 'a'",
    ),
    "long number": (archive([("json", text("1" * 5000))]), "Exceeds the limit (4300 digits)"),
    "deep": (archive([("json", text('{"list": [' * 60 + "]}" * 60))]), "its JSON is nested too"),
    "deeper": (archive([("json", text("[" * 10**5))]), "its JSON is nested too deeply"),
    "odd key": (archive([("json", text('{"dict": [[{"list": []}, 1]]}'))]), "unhashable type"),
    "no pairs": (archive([("json", text('{"dict": [1]}'))]), "cannot unpack non-iterable int"),
    "kind": (archive([("json", text('{"tensor": "a"}')), ("a", text("b"))]), "can't convert np"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_archive_is_no_larger_than_it_is(name: str) -> None:
    content, expected = BOMBS[name]
    tracemalloc.start()
    try:
        result = outcome(lambda: unpack(content))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert str(result).startswith(expected)
    assert peak < 100 * len(content) + 10**7
    assert not Path("ran").exists()


def test_a_trajectory_of_more_epochs_than_the_run_is_not_read() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    rows = 10**6
    columns = {"epoch": pa.array(np.zeros(rows, np.int64)), "param/w": pa.array(np.zeros(rows))}
    pq.write_table(pa.table(columns), file)
    content = file.getvalue()
    assert len(content) < rows / 10
    for read in (read_parquet, read_last_epoch):
        assert outcome(lambda read=read: read(content, 20)) == (
            "it has 1000000 epochs, more than iters=20"
        )


def test_a_trajectory_of_text_is_not_read() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"epoch": [1], "train/loss": ["a"]}), file)
    assert outcome(lambda: read_parquet(file.getvalue(), 20)) == (
        "it has columns that are not numbers"
    )


def test_a_large_configuration_is_not_read() -> None:
    assert outcome(lambda: read_config(b"a: 1\n" * 10**6)) == (
        "it has 5000000 bytes, too many to be a run's"
    )


class OneFile:
    """A store whose runs have one artifact each, with this content."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, run: Any, name: str) -> bytes:
        return self.content


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[" * 10**5, b"3", b"[3]", b"[[]]", b'{"a": 1}', b'[{"overrides": "a"}]', b"\xff"],
)
def test_a_damaged_list_of_jobs(content: bytes) -> None:
    from gdexp.sweep.resume import check_unchanged
    from gdexp.tracking.query import SWEEP

    summary: Any = SimpleNamespace(params={"jobs": "1"}, tags={SWEEP: "s"})
    store: Any = OneFile(content)
    result = outcome(lambda: check_unchanged(store, summary, []))
    assert re.fullmatch(
        r"sweep\.resume: the jobs of s cannot be read: .+\. Start a new sweep\.", result
    )
