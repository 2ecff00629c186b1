"""Archives and other files that claim more than they hold: a sentence, and little memory."""

from __future__ import annotations

import io
import re
import tracemalloc
import warnings
import zipfile
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hostile_helpers import fitted_of, outcome

from gdexp.descent.archive import pack, unpack
from gdexp.descent.fitted_files import read_config, read_fitted, read_last_epoch
from gdexp.tracking.curves import read_parquet
from gdexp.tracking.tags import SWEEP

MLP = fitted_of("step=model", "predictor=mlp", "predictor.sizes=[3]").packed()
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
    parts = unpack(MLP)
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

    summary: Any = SimpleNamespace(params={"jobs": "1"}, tags={SWEEP: "s"})
    store: Any = OneFile(content)
    result = outcome(lambda: check_unchanged(store, summary, []))
    assert re.fullmatch(
        r"sweep\.resume: the jobs of s cannot be read: .+\. Start a new sweep\.", result
    )
