"""Make the object of an option from its settings; only this module lets Hydra instantiate."""

from __future__ import annotations

import copy
import inspect
import json
import pkgutil
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from gdexp.config.capabilities import resolve
from gdexp.config.job import Job
from gdexp.config.passwords import with_passwords
from gdexp.config.trust import targets
from gdexp.data.arrays import as_source
from gdexp.descent.generators import seeded
from gdexp.errors import ConfigError, first_line
from gdexp.pytorch.settings import with_floats

SPECIAL = {"_args_", "_convert_", "_recursive_"}  # keys that change how Hydra instantiates

# Where Hydra 1.4 is given the targets that it may call; 1.3 has no such list.
_WHITELISTS = {"_target_whitelist_", "_execution_whitelist_"} & {
    *inspect.signature(instantiate).parameters
}
TORCH_BASES = {"torch.optim.optimizer.Optimizer", "torch.optim.lr_scheduler.LRScheduler"}
HOMES = {  # the folders of gdexp's code and of the libraries
    Path(__file__).resolve().parents[1],
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
}
LONGEST = 300  # characters of a message that is not ours
PASSED = {"updater": "params", "scheduler": "optimizer"}  # what torch's constructors are given


def source(node: dict[str, Any]) -> Any:
    """Make a data source from its settings: a Dataset, or a Source that reads one.

    All runs share a table, so if a loader draws, it draws the same for every seed.

    Raises:
        ConfigError: if its loader rejects them, or returns no table.
    """
    target = str(node["_target_"])
    draws = nullcontext() if target.startswith("gdexp.") else seeded(Job({"data": node}, {}), 0)
    with refusing("data"), draws:
        return as_source(_by_hydra(node), node["_target_"])


def option(job: Job, family: str, **sizes: int) -> Any:
    """Make a new object of the option chosen for a family.

    Hydra takes milliseconds for a node, and a sweep instantiates the same few classes thousands of
    times. So once Hydra has accepted a class with these settings, whatever their numbers, the class
    is called directly.

    Args:
        job: the job.
        family: a group, such as "updater".
        sizes: passed to constructors that accept them.

    Raises:
        ConfigError: if the constructor rejects its settings.
    """
    node = job.settings[family]
    with refusing(family):
        target = resolve(node["_target_"]) or pkgutil.resolve_name(node["_target_"])
        accepted = _parameters(target) if sizes else ()
        node = {name: size for name, size in sizes.items() if name in accepted} | node
        node = with_floats(str(node["_target_"]), node)
        if not node.get("_partial_") and _is_called_later(target, family, tuple(node)):
            node["_partial_"] = True
        words = {k: v for k, v in node.items() if not isinstance(v, int | float)}
        with seeded(job) if _draws(family, str(node["_target_"])) else nullcontext():
            if not (isinstance(target, type) and _is_plain(target, json.dumps(words))):
                return _by_hydra(node)
            arguments = {k: v for k, v in node.items() if k not in ("_target_", "_partial_")}
            arguments = copy.deepcopy(with_passwords(arguments))  # objects must not share a list
            return partial(target, **arguments) if node.get("_partial_") else target(**arguments)


def _draws(family: str, target: str) -> bool:
    """Whether a constructor may draw: of ours and torch's, only that of a module."""
    ours = "gdexp.manual." if family == "predictor" else ("gdexp.", "torch.")
    return not target.startswith(ours)


@lru_cache(maxsize=64)
def _parameters(target: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(target).parameters)


@lru_cache(maxsize=64)
def _is_called_later(target: Any, family: str, given: tuple[str, ...]) -> bool:
    """Whether gdexp passes what the settings lack, so that ``_partial_`` need not be written.

    So it is for an optimizer and a scheduler of torch's kind, and for a function that is itself a
    loss, a gradient source or an updater.
    """
    if family not in ("gradient", "loss", "updater", "scheduler"):
        return False
    if str(getattr(target, "__module__", "")).startswith("gdexp."):
        return False
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return False
    missing = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    missing = [name for name in missing if name not in given]
    if inspect.isclass(target):
        bases = {f"{kind.__module__}.{kind.__name__}" for kind in target.__mro__}
        return PASSED.get(family) in missing or bool(bases & TORCH_BASES)
    return bool(missing)


@lru_cache(maxsize=64)
def _is_plain(target: type, words: str) -> bool:
    """Whether Hydra accepts the class, and would make nothing but this class from the node.

    Args:
        target: the class that ``_target_`` names now; it changes when its module is reloaded.
        words: the node without its numbers, in JSON.
    """
    node = json.loads(words)
    if node.keys() & SPECIAL or words.count('"_target_"') > 1:
        return False
    return _by_hydra(node | {"_partial_": True}).func is target


def _by_hydra(node: dict[str, Any]) -> Any:
    """Let Hydra make an object of a node, whose targets are the user's own or have been checked.

    Hydra 1.4 wants to be given the targets that it may call, under one of two names.
    """
    allowed = {key: [str(target) for _, target in targets(node, "")] for key in _WHITELISTS}
    return instantiate(with_passwords(node), _convert_="all", **allowed)


@contextmanager
def refusing(family: str) -> Iterator[None]:
    """Turn any exception into a ConfigError that names the family."""
    try:
        yield
    except ConfigError:
        raise
    except SystemExit as stopped:
        raise ConfigError(f"{family}: it called sys.exit({stopped.code!r}).") from stopped
    except Exception as error:
        wrapped = error.__cause__ if isinstance(error, InstantiationException) else None
        cause = wrapped or error
        if isinstance(cause, ConfigError):
            raise cause from None
        raise ConfigError(f"{family}: {first_line(cause)[:LONGEST]}{_where(cause)}") from error


def _where(error: BaseException) -> str:
    """The last line of the user's own code that an exception passed, or "" if none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_file() and not any(home in path.parents for home in HOMES):
            return f" ({path.name}, line {frame.lineno})"
    return ""
