"""Overrides are read as Hydra reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from gdexp.config.compose import Composer, session
from gdexp.config.overrides import assignment, is_hydras, parse
from gdexp.errors import ConfigError

NUMBERS = "1 -1 +1 0 -0 1. .5 -.5 +.5 0.0 1e3 1E5 1.e3 .5e-3 1e-05 1e03 1_000 inf -inf nan 1e400"
ODD = "0x10 1__0 1_0.5 1.5_0 1e1_0 007 00 -007 00.5 08. 01e5 0_1 1e5.0 1.2.3 1e 9999999999999999999"
TEXTS = "true null abc 'a' [1,2] {a:1}"


@pytest.mark.parametrize("literal", f"{NUMBERS} {ODD} {TEXTS}".split())
def test_a_value_is_read_as_hydra_reads_it(literal: str) -> None:
    expected = OverridesParser.create().parse_override(f"updater.lr={literal}").value()
    pair = assignment(f"updater.lr={literal}")
    assert repr(pair) == repr(("updater.lr", expected))


@given(
    st.one_of(
        st.from_regex(r"[-+]?[0-9_]{0,4}\.?[0-9_]{0,3}([eE][-+]?[0-9_]{1,3})?", fullmatch=True),
        st.floats().map(repr),
        st.integers().map(str),
    )
)
@settings(max_examples=100, deadline=None)
def test_any_number_is_read_as_hydra_reads_it(literal: str) -> None:
    expected = OverridesParser.create().parse_override(f"lr={literal}").value()
    assert repr(assignment(f"lr={literal}")) == repr(("lr", expected))


@pytest.mark.parametrize("text", ["+lr=1", "++lr=1", "~lr", "lr=1,2", "lr=range(1,3)"])
def test_an_override_that_adds_removes_or_sweeps_is_no_assignment(text: str) -> None:
    assert assignment(text) is None


UNREADABLE = {
    **dict.fromkeys(("lr", "=3", "", "lr=choice()", "l r=1"), "as in lr=0.05"),
    "lr=0.1,": "since a value is missing beside a comma",
    "lr=[1": "since a bracket is not closed",
    "lr='1": "since a quote is not closed",
    "data.decimal=,": "since a comma is typed as a word: data.decimal=comma",
}


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize("reader", [parse, assignment])
def test_what_hydra_cannot_parse_is_refused(reader: Callable[[str], object], text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        reader(text)
    assert str(refused.value) == f"{text!r} cannot be read as key=value, {UNREADABLE[text]}."


def test_only_a_loader_knows_the_options_of_a_glob() -> None:
    with session():
        override = parse("step=glob(*,exclude=m*)", Composer().loader)
        assert list(override.sweep_string_iterator()) == ["autograd", "optimizer"]


def test_what_configures_hydra_is_told_by_its_text() -> None:
    ours = ["lr=1", "data.name=hydra.x", "hydrant.x=1", "+step=hydra"]
    hydras = ["hydra.verbose=true", "hydra/launcher=basic", "+hydra.help.extra=1", "~hydra.x"]
    assert [text for text in ours + hydras if is_hydras(text)] == hydras
