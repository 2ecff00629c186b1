"""Command lines, YAML files and tables that nobody has thought of: run, or refused in a sentence.

Each case runs in this process, with warnings as errors. It ends with exit code 0, or 1 and 2 with
sentences on stderr, never with a traceback; what is refused leaves the folder as it was.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import clean_environment
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

# Words of the grammar, and what may be done to them

KEYS = (
    *("lr", "iters", "seed", "dtype", "device", "predict_at", "print_every", "continue_from"),
    *("step", "data", "predictor", "gradient", "loss", "updater", "scheduler", "tracking", "sweep"),
    *("stop.tolerance", "stop.watch", "stop.patience", "stop.divergence", "stop.every"),
    *("data.x", "data.y", "data.path", "data.target", "data.features", "data.standardize"),
    *("data.validation", "data.batch_size", "data.compress", "data.separator", "data.header"),
    *("predictor.bias", "predictor.init", "updater.momentum", "updater.lr", "checkpoint.every"),
    *("tracking.experiment", "tracking.max_points", "sweep.repeat", "sweep.key", "sweep.low"),
    *("sweep.high", "sweep.num", "sweep.lists", "sweep.path", "sweep.on_error", "sweep.dry_run"),
    *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir"),
    *("hydra.mode", "hydra.verbose", "hydra.callbacks", "hydra.job.name", "hydra.job.chdir"),
    *("hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra.launcher.engine"),
    *("hydra.launcher.workers", "hydra.sweeper.max_batch_size", "hydra.sweeper.params"),
    *("hydra.searchpath", "hydra", "nosuch", "stop", "data._target_", "updater._target_"),
)
VALUES = (
    *("0.1", "1", "0", "-1", "3", "1e308", "1e-320", "1e999", "nan", "inf", "-0.0", "007", "1_000"),
    *("true", "null", "None", "", "~", "a", "b", "manual", "autograd", "model", "SGD", "Adam"),
    *("diabetes", "csv", "synthetic", "grid", "log", "zip", "linear", "off", "basic", "optuna"),
    *("0.1,0.2", "manual,model", "range(1,4)", "interval(0,1)", "choice()", "glob(*)", "[1,2]"),
    *("[]", "[1,[2]]", "{a:1}", "{}", "[1,2", "'x'", '"x', "a=b", "a b", "größe", "\udcff", "😀"),
    *("${lr}", "${iters}", "${nosuch}", "${hydra:job.name}", "${hydra:job.num}", "${oc.env:NO}"),
    *("${stop}", "${", "$", "${a:b}", "${data.x}", "${hydra.run.dir}", "???", "t.csv", "../t.csv"),
    *(
        "gdexp.manual.Loss",
        "builtins.print",
        "x" * 300,
        "99999999999999999999",
        "\\",
        "#",
        "%",
        "/",
    ),
)
FLAGS = (
    *("-m", "--multirun", "--cfg", "job", "all", "--info", "--resolve", "--package", "--run"),
    *("--help", "-h", "help", "--version", "--config-name", "--config-dir", "--hydra-help", "-x"),
    *("compare", "predict", "ui", "--csv", "--json", "--sort", "--uri", "--out", "--experiment"),
    *("abc", "t.csv", "mine", "", " ", "=", "==", "lr", "lr=", "=lr", "~", "~lr", "+lr", "@", "--"),
)
awkward = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
value = st.one_of(st.sampled_from(VALUES), st.sampled_from(VALUES), awkward, st.floats().map(repr))
setting = st.builds(
    lambda sign, key, value: f"{sign}{key}={value}",
    st.sampled_from(["", "", "", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS),
    value,
)
word = st.one_of(setting, setting, setting, st.sampled_from(FLAGS), awkward)
words = st.lists(word, min_size=1, max_size=4)
typed = st.builds(
    lambda head, rest: [*head, *rest],
    st.sampled_from([(), (), ("-m",), ("compare",), ("predict", "abc"), ("--config-dir", "mine")]),
    words,
)

node = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(VALUES), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=6,
)
yaml_text = st.one_of(
    st.builds(
        lambda head, pairs: head + "".join(f"{k}: {v!r}\n" for k, v in pairs.items()),
        st.sampled_from(
            [
                "",
                "# @package _global_\n",
                "# @package _global_\ndefaults:\n  - manual\n  - _self_\n",
                "defaults:\n  - nosuch\n",
                "_target_: gdexp.manual.Loss\n",
                "_target_: nosuch.Thing\n",
            ]
        ),
        st.dictionaries(st.sampled_from([*KEYS, "waits", "hydra"]), node, max_size=4),
    ),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
cell = st.one_of(
    st.integers(-99, 99).map(str),
    st.floats().map(repr),
    st.sampled_from(
        ["", " ", "1,5", "1.000,5", '"', "a", "größe", "NA", "nan", "0x10", "1e400", "#"]
    ),
)
table = st.one_of(
    st.builds(
        lambda header, rows, sign, end: end.join(sign.join(row) for row in [header, *rows]) + end,
        st.lists(st.sampled_from(["x", "y", "x", "z", "", "größe", "1"]), min_size=1, max_size=4),
        st.lists(st.lists(cell, min_size=1, max_size=4), max_size=6),
        st.sampled_from([",", ";", "\t", "|", " "]),
        st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
    ).map(str.encode),
    st.binary(max_size=60),
)
of_table = st.lists(
    st.sampled_from(
        [
            *("step=model", "step=autograd", "loss=CrossEntropyLoss", "loss=BCEWithLogitsLoss"),
            *("data.standardize=true", "data.standardize_target=true", "data.validation=0.5"),
            *("data.separator=semicolon", "data.separator=tab", "data.decimal=comma"),
            *("data.header=false", "data.header=true", "data.thousands=comma", "data.comment='#'"),
            *("data.encoding=latin-1", "data.encoding=utf-16", "data.batch_size=1"),
            *("data.features=[x]", "data.target=z", "data.drop=[x]", "predictor.bias=true"),
            *("gradient=manual", "data.compress=true", "dtype=float64", "data.target=1"),
        ]
    ),
    max_size=4,
    unique=True,
)


@pytest.fixture(scope="module")
def playground() -> Iterator[Path]:
    """A folder to work in for all cases."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name).resolve()
        patch.chdir(folder)
        for variable in os.environ.keys() - clean_environment().keys():
            patch.delenv(variable)
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setenv("COLUMNS", "80")
        yield folder


def snapshot() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def case(argv: list[str], files: dict[str, bytes]) -> None:
    """Run one command line in the folder, with these files in it."""
    from gdexp.commands import main

    for entry in Path().iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for name, content in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)
    before = snapshot()
    out, err, home = io.StringIO(), io.StringIO(), os.getcwd()
    code: object = 0
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("error")
        patch.setattr(sys, "argv", ["gdexp", *argv])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
    assert os.getcwd() == home
    assert code in (0, 1, 2), err.getvalue()
    assert "Traceback" not in err.getvalue(), err.getvalue()
    assert "Warning" not in err.getvalue(), err.getvalue()
    if code == 2:
        assert err.getvalue().startswith("gdexp: "), err.getvalue()
        assert err.getvalue().count("\n") == 1, err.getvalue()
        assert snapshot() == before, err.getvalue()
        assert not Path("outputs").exists(), err.getvalue()


RULES = {
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate],
}


def cases(number: int) -> settings:
    """So many cases, the same each time; GDEXP_FUZZ=100 gives 100 times as many new ones."""
    times = int(os.environ.get("GDEXP_FUZZ", "0"))
    rules = RULES | {"derandomize": not times}
    return settings(max_examples=number * (times or 1), **rules)  # type: ignore[arg-type]


def is_left_out(argv: list[str]) -> bool:
    """Whether a command line would wait for a person, or for other processes."""
    text = " ".join(argv)
    return argv[:1] == ["ui"] or any(each in text for each in ("joblib", "ray", "submitit"))


def command_line(argv: list[str]) -> None:
    if not is_left_out(argv):
        files = {"t.csv": b"x,y\n1,2\n2,3\n3,5\n", "mine/loss/a.yaml": b"_target_: nosuch.Loss\n"}
        case(["tracking=off", "iters=3", *argv] if argv[0] not in HEADS else argv, files)


HEADS = ("compare", "predict", "help", "--help", "-h", "--version", "ui")


def yaml_file(content: str, argv: list[str]) -> None:
    case(
        ["--config-dir", "mine", "tracking=off", "iters=3", *argv],
        {f"mine/{argv[0].replace('=', '/')}.yaml": content.encode()},
    )


def csv_file(content: bytes, argv: list[str]) -> None:
    words = ["data=csv", "data.path=t.csv", "data.target=y", "tracking=off", "iters=3"]
    case([*words, *argv], {"t.csv": content})


options = st.sampled_from(["step=a", "loss=a", "data=a", "updater=a", "sweep=a", "hydra/sweeper=a"])
choices = st.builds(lambda one, rest: [one, *rest], options, st.lists(setting, max_size=1))


def reading(content: bytes, format: dict[str, object], standardize: bool) -> None:
    """Read a table without the rest of a run, which takes a hundred times as long."""
    from gdexp import data
    from gdexp.data.transforms import Scaling
    from gdexp.errors import GdexpError

    Path("t.csv").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            rows = data.csv(path="t.csv", target="y", **format).load()  # type: ignore[arg-type]
            if standardize:
                rows = Scaling.of(rows).apply(rows)
        except GdexpError as refused:
            sentence = str(refused)
            assert sentence.endswith((".", "?")), sentence
            assert "Traceback" not in sentence
            return
    assert len(rows.y) > 0
    assert np.isfinite(rows.x).all()
    assert np.isfinite(rows.y).all()


formats = st.fixed_dictionaries(
    {},
    optional={
        "separator": st.sampled_from(["comma", "semicolon", "tab", "pipe"]),
        "decimal": st.sampled_from(["point", "comma"]),
        "thousands": st.sampled_from(["comma", "space", "point", "apostrophe", None]),
        "encoding": st.sampled_from(["latin-1", "utf-16", "cp1252", "nosuch", None]),
        "comment": st.sampled_from(["#", "", "ab", None]),
        "header": st.sampled_from([True, False, None]),
        "features": st.sampled_from([["x"], [], ["y"], ["nosuch"], None]),
        "drop": st.sampled_from([["x"], ["z"], None]),
    },
)


@cases(60)
@given(table, formats, st.booleans())
def test_tables(
    playground: Path, content: bytes, format: dict[str, object], standardize: bool
) -> None:
    reading(content, format, standardize)


@cases(4)
@given(typed)
def test_command_lines(playground: Path, argv: list[str]) -> None:
    command_line(argv)


@pytest.mark.slow
@cases(700)
@given(table, formats, st.booleans())
def test_many_tables(
    playground: Path, content: bytes, format: dict[str, object], standardize: bool
) -> None:
    reading(content, format, standardize)


@pytest.mark.slow
@cases(50)
@given(typed)
def test_many_command_lines(playground: Path, argv: list[str]) -> None:
    command_line(argv)


@pytest.mark.slow
@cases(12)
@given(yaml_text, choices)
def test_many_yaml_files(playground: Path, content: str, argv: list[str]) -> None:
    yaml_file(content, argv)


@pytest.mark.slow
@cases(12)
@given(table, of_table)
def test_many_runs_of_tables(playground: Path, content: bytes, argv: list[str]) -> None:
    csv_file(content, argv)
