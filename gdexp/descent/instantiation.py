"""From the settings of an option to its object: the one place where Hydra instantiates."""

from __future__ import annotations

import copy
import inspect
import json
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from gdexp.config.job import Job
from gdexp.errors import ConfigError, first_line

SPECIAL = {"_args_", "_convert_", "_recursive_"}  # keys that change how Hydra reads a node


def source(node: dict[str, Any]) -> Any:
    """The data source that these settings describe.

    Raises:
        ConfigError: its loader refuses them.
    """
    with refusing("data"):
        return _by_hydra(node)


def option(job: Job, family: str, **sizes: int) -> Any:
    """The chosen option of a family, made anew.

    Hydra takes milliseconds to go through a node, and a sweep makes the same few classes thousands
    of times. So a class is called directly once Hydra has admitted it with these settings, numbers
    aside; anything else is made by Hydra each time.

    Args:
        job: the job.
        family: a group, as "updater".
        sizes: passed to constructors that accept them.

    Raises:
        ConfigError: the constructor refuses its settings.
    """
    node = job.settings[family]
    with refusing(family):
        target = pkgutil.resolve_name(node["_target_"])
        taken = _parameters(target) if sizes else ()
        node = {name: n for name, n in sizes.items() if name in taken} | node
        words = {k: v for k, v in node.items() if not isinstance(v, int | float)}
        if not (isinstance(target, type) and _admitted(target, json.dumps(words))):
            return _by_hydra(node)
        arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_")}
        arguments = copy.deepcopy(arguments)  # a list is the object's own
        return partial(target, **arguments) if node.get("_partial_") else target(**arguments)


@lru_cache(maxsize=64)
def _parameters(target: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(target).parameters)


@lru_cache(maxsize=64)
def _admitted(target: type, words: str) -> bool:
    """Whether Hydra's rules let a node make this class, and the class is all that it makes.

    Args:
        target: the class that ``_target_`` names now; another one after its module is reloaded.
        words: the node without its numbers, in JSON.
    """
    node = json.loads(words)
    if node.keys() & SPECIAL or words.count('"_target_"') > 1:
        return False
    return _by_hydra(node | {"_partial_": True}).func is target


def _by_hydra(node: dict[str, Any]) -> Any:
    return instantiate(node, _convert_="all")


@contextmanager
def refusing(family: str) -> Iterator[None]:
    """Turn a constructor's complaint into a sentence about the family.

    Raises:
        ConfigError: instead of any other exception.
    """
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:
        wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
        cause = wrapped or error
        if isinstance(cause, ConfigError):
            raise cause from None
        raise ConfigError(f"{family}: {first_line(cause)}") from error
