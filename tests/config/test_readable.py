"""Values that Hydra's grammar cannot read are quoted; strings that look like numbers stay."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import Ended
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp import run
from gdexp.config.overrides import readable
from gdexp.errors import ConfigError

CLI = Callable[..., Ended]

NAMES = [
    "größe",
    "Wohnfläche [m²]",
    "a(1)",
    "a=b",
    "it's",
    'in "quotes"',
    "7.0",
    "1.50",
    "true",
    "True",
]
NAMES += ["1_0", "inf", "a&b", "#1", "x;y", "50 %", "C:\\ü", "<5>", "価格", "-.5", "1e5", "no'\"pe"]
KEPT = ["data.target=null", "data.target=7", "data.target=choice(a,b)", "data.features=[a, b],[c]"]
KEPT += ["lr=0.1", "lr=0.1,0.2", "lr=range(1,3)", "data.x=[[1,2],[3,4]]", "a={b:[1,2],c:{d:e}}"]
KEPT += ["updater.lr=${..lr}", "data.target='1.50'", 'data.target="null"', "~lr", "lr", "=3", "lr="]
KEPT += ["lr=0.1,", "lr=[1", "data.x=[1,2", "lr=choice()", "l r=1", "tracking.uri=sqlite:///a.db"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_as_it_is_typed(name: str) -> None:
    override = OverridesParser.create().parse_override(readable(f"data.target={name}"))
    assert override.value() == name


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
@settings(max_examples=100, deadline=None)
def test_any_name_is_read_or_left_for_hydra_to_refuse(name: str) -> None:
    text = f"data.path={name}"
    assert readable(readable(text)) == readable(text)  # what is read once is read again
    if not set(name) & set("\\,[]{}$'\"") and name != "null":
        value = OverridesParser.create().parse_override(readable(text)).value()
        assert value == name or "(" in name  # choice(a) means what it means to Hydra


@pytest.mark.parametrize("text", KEPT)
def test_what_hydra_reads_or_must_refuse_is_left_alone(text: str) -> None:
    assert readable(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data.features=[größe, 7.00,null]", ["größe", "7.00", "null"]),
        ("data.features=[Wohnfläche [m²],a(1)]", ["Wohnfläche [m²]", "a(1)"]),
        ("data.features=[7.0, 7,-1,True]", ["7.0", "7", "-1", "True"]),
        ("tracking.experiment=2024", "2024"),
        ("loss=größe", "größe"),
        (
            "sweep.lists={lr:[0.1],data.target:[größe,x]}",
            {"lr": [0.1], "data.target": ["größe", "x"]},
        ),
    ],
)
def test_lists_and_mappings(text: str, expected: object) -> None:
    assert OverridesParser.create().parse_override(readable(text)).value() == expected


def test_alternatives_are_quoted_one_by_one() -> None:
    assert readable("data.target=größe,x,7.0") == "data.target='größe',x,'7.0'"


@pytest.fixture
def table(workdir: Path) -> Path:
    """A file whose name and columns Hydra's grammar cannot read."""
    file = workdir / "data (1)=ü.csv"
    file.write_text("x,null,true,1.50,größe\n1,2,3,4,5\n2,4,3,4,9\n3,7,2,2,2\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("target", ["true", "1.50", "größe", '"null"'])
def test_such_columns_can_be_fitted(target: str, table: Path, cli: CLI) -> None:
    words = ["data=csv", f"data.path={table.name}", f"data.target={target}", "tracking=off"]
    ended = cli(*words, "iters=1", "print_every=1")
    assert ended.code == 0, ended.err
    listed = re.findall(r"w/(\S+) =", ended.out)
    assert listed == [c for c in ("x", "null", "true", "1.50", "größe") if c != target.strip('"')]


def test_such_columns_can_be_fitted_from_python(table: Path) -> None:
    words = ("data=csv", f"data.path={table.name}", "data.target=größe", "tracking=off", "iters=1")
    assert run(*words).outcome == "completed"


def test_the_column_called_null_needs_quotes_and_is_told_so(table: Path, cli: CLI) -> None:
    words = ("data=csv", f"data.path={table.name}", "data.target=null", "tracking=off")
    sentence = cli(*words).err
    assert sentence == (
        "gdexp: data.target: for the column called null, type 'data.target=\"null\"'\n"
    )
    typed = subprocess.run(  # as bash reads what is told
        ["bash", "-c", f"printf %s {sentence.rpartition('type ')[2]}"],
        capture_output=True,
        text=True,
    ).stdout
    assert cli(*words[:2], typed, "tracking=off", "iters=1").code == 0


def test_a_name_with_a_comma_is_told_how_to_be_typed(workdir: Path, cli: CLI) -> None:
    (workdir / "t.csv").write_text('"a, b",y\n1,2\n2,3\n')
    words = ("data=csv", "data.path=t.csv", "tracking=off", "iters=1")
    sentence = cli(*words, "data.target=a, b").err
    typed = sentence.rpartition("for one name: ")[2]
    assert cli(*words, *shlex.split(typed)).code == 0


@pytest.mark.slow
def test_columns_vary_in_a_sweep_typed_and_from_a_table(table: Path, cli: CLI) -> None:
    words = ["data=csv", f"data.path={table.name}", "tracking=off", "iters=1", "-m"]
    ended = cli(*words, "data.target=größe,1.50,x")
    assert (ended.code, ended.err.count(": completed,")) == (0, 3)
    (table.parent / "jobs.csv").write_text("data.target\n1.50\ngröße\n", encoding="utf-8")
    ended = cli(*words, "sweep=csv", "sweep.path=jobs.csv")
    assert (ended.code, ended.err.count(": completed,")) == (0, 2)
    assert "data.target='1.50'" in ended.err


def test_a_range_among_values_is_refused(workdir: Path, cli: CLI) -> None:
    ended = cli("-m", "lr=0.1,range(1,3)")
    sentence = "lr=0.1,range(1,3): a range cannot be one of several values. List its values."
    assert ended == (2, "", f"gdexp: {sentence}\n")
    assert not any(workdir.iterdir())


def test_the_command_in_the_note_can_be_pasted(table: Path) -> None:
    from gdexp.config.job import Job

    typed = ("data=csv", f"data.path='{table.name}'", "data.x=[1,2]", "updater.lr=${lr}")
    command = Job({}, {}, typed).command
    assert shlex.split(command) == ["python", "-m", "gdexp", *typed]
    assert " data.x=[1,2] " in command


class TestReferences:
    """Interpolations are resolved by the run, and kept as typed in its record."""

    @pytest.mark.parametrize("word", ["updater.momentum=${lr}", "updater.momentum=${..lr}"])
    def test_in_a_run(self, word: str, workdir: Path, cli: CLI) -> None:
        ended = cli("updater=manual_momentum", word, "lr=0.02", "iters=3", "tracking=off")
        plain = cli(
            "updater=manual_momentum", "updater.momentum=0.02", "lr=0.02", "iters=3", "tracking=off"
        )
        assert (ended.code, ended.out) == (0, plain.out)

    @pytest.mark.slow
    def test_in_a_sweep(self, workdir: Path, cli: CLI) -> None:
        common = ["-m", "updater=manual_momentum", "lr=0.02,0.03", "iters=3", "tracking=off"]
        endings = {}
        for word in ("${..lr}", "${lr}", "0.02,0.03"):
            lines = cli(*common, f"updater.momentum={word}").err.splitlines()
            runs = [line for line in lines if line.startswith("#")]
            assert all(f" updater.momentum={word}:" in line for line in runs) or "," in word
            endings[word] = [line.partition(": completed, ")[2] for line in runs]
        assert len(endings["0.02,0.03"]) == 4
        assert endings["${..lr}"] == endings["${lr}"] == endings["0.02,0.03"][::3]

    @pytest.mark.slow
    def test_hydras_own_default_of_the_folder(self, workdir: Path, cli: CLI) -> None:
        word = "hydra.sweep.subdir=${hydra.job.num}"
        assert cli(word, "iters=1", "tracking=off").code == 0
        ended = cli("-m", word, "hydra.sweep.dir=sweep", "lr=0.1,0.2", "iters=1", "tracking=off")
        assert ended.code == 0, ended.err
        assert {path.name for path in Path("sweep").iterdir() if path.is_dir()} == {"0", "1"}

    @pytest.mark.parametrize("flags", [["-m"]])
    def test_one_that_leads_nowhere_is_refused(
        self, flags: list[str], workdir: Path, cli: CLI
    ) -> None:
        ended = cli(*flags, "updater.lr=${nosuch}")
        sentence = (
            "updater.lr: ${nosuch} refers to no setting of this run. Type a value, or refer to one "
            "of its settings, as in ${lr}."
        )
        assert ended == (2, "", f"gdexp: {sentence}\n")
        assert not any(workdir.iterdir())
        with pytest.raises(ConfigError, match="refers to no setting of this run"):
            run("updater.lr=${nosuch}")
