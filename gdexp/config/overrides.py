"""Parses overrides."""

from __future__ import annotations

import functools
import re
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from gdexp.errors import ConfigError

_WHOLE = r"(?:0|[1-9]\d*)"  # Hydra parses 007 as a string
_NUMBER = re.compile(
    rf"([a-z_]\w*(?:\.\w+)*)=([-+]?(?:{_WHOLE}(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)", re.I | re.A
)


def parse(text: str, loader: ConfigLoader | None = None) -> Override:
    """Parse an override as Hydra does.

    Args:
        text: the override as typed.
        loader: Hydra's, needed only to expand globs such as ``step=glob(*)``.

    Raises:
        ConfigError: Hydra cannot parse it.
    """
    try:
        (override,) = OverridesParser.create(loader).parse_overrides([text])  # sets the loader
        if not override.key_or_group:
            raise HydraException("no key")
        return override
    except HydraException as error:
        raise ConfigError(f"{text!r} cannot be read as key=value, as in lr=0.05.") from error


@functools.lru_cache(maxsize=100_000)
def assignment(text: str) -> tuple[str, Any] | None:
    """Key and value of a plain ``key=value``; None for one that adds, removes or sweeps a key.

    Numbers, which most sweeps vary, bypass Hydra's slow parser.

    Raises:
        ConfigError: Hydra cannot parse it.

    >>> assignment("lr=1e-3"), assignment("step=model"), assignment("+lr=1")
    (('lr', 0.001), ('step', 'model'), None)
    """
    if number := _NUMBER.fullmatch(text):
        is_whole = number[2].lstrip("+-").isdigit()
        return number[1], int(number[2]) if is_whole else float(number[2])
    override = parse(text)
    if override.type.name != "CHANGE" or override.is_sweep_override():
        return None
    return str(override.key_or_group), override.value()


def is_hydras(text: str) -> bool:
    """Whether an override configures Hydra itself, not the run."""
    return text.lstrip("+~").startswith(("hydra.", "hydra/", "hydra="))
