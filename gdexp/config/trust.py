"""No code from strangers: what the settings in a record may build.

Somebody else may have written a record: a run's ``config.yaml`` or ``predictor.npz``, a checkpoint,
a logged model. Its settings name classes, and importing a module runs its code. So they are checked
before anything is imported: a record may name gdexp's components, the modules of ``torch.nn``, the
optimizers and schedulers of ``torch.optim``, and what the user has typed to be trusted.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdexp.config.paths import absolute
from gdexp.config.schema import FAMILIES
from gdexp.config.settings import is_trustable
from gdexp.errors import ConfigError, UntrustedError, excerpt, first_line

BUILT = ("data", *FAMILIES, "scheduler")
COMPONENTS = {
    "gdexp.manual": (
        *("Predictor", "Loss", "Logistic", "Gradient", "GradientSum", "LogisticGradient"),
        *("Updater", "Momentum", "Nesterov", "Adam"),
    ),
    "gdexp.pytorch": ("Autograd", "Linear", "MLP"),
    "gdexp.mistakes": (
        *("NotZeroed", "MissingMean", "MissingTwo", "ForgottenBias"),
        *("Broadcast", "Detached", "WrongSign", "forgotten_no_grad"),
    ),
}
"""The classes that conf/ offers, by module."""

SOURCES = ("csv", "diabetes", "parquet", "points", "synthetic")
"""The functions of :mod:`gdexp.data` that conf/ offers; only the group data may name them."""

OURS = {f"{module}.{name}" for module, names in COMPONENTS.items() for name in names}
DEEPEST = 30  # levels of a configuration
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")


@dataclass(frozen=True)
class Trust:
    """What the user trusts besides, and how they say so.

    Attributes:
        names: classes, functions, and packages such as ``mypackage.*``.
        typed: how to type one, with ``{}`` for the name.
        own: names that the user's own configuration has.
    """

    names: tuple[str, ...] = ()
    typed: str = "--trust '{}'"
    own: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in self.names:
            if not is_trustable(name):
                raise ConfigError(
                    f"trust: {name!r} is neither a package nor a class. Type for example "
                    f"{self.typed.format('mypackage.*')}."
                )

    def includes(self, name: str) -> bool:
        """Whether a name is trusted, or one of its packages is."""
        return any(
            name == trusted or (trusted.endswith(".*") and name.startswith(trusted[:-1]))
            for trusted in self.names
        )


ONLY_OURS = Trust()
"""Nothing but the components of gdexp and torch."""


def check(
    settings: Mapping[str, Any], trust: Trust | None, own: Mapping[str, Any] | None = None
) -> None:
    """Refuse settings from a record that are not plain, or name a class that is not trusted.

    Args:
        settings: the settings.
        trust: what the user trusts; None: nothing will be built from them, so any name will do.
        own: the user's own settings: what these name in the same place is the user's choice.

    Raises:
        UntrustedError: names the target, its place, and what to type.
        ValueError: a value is not plain, or nested too deeply.
    """
    for group, node in settings.items():
        _check_plain(node, _inside("", group).lstrip("."))
    if trust is None:
        return
    for group in BUILT:
        chosen = dict(targets((own or {}).get(group), group))
        for place, target in targets(settings.get(group), group):
            is_unset = place == "scheduler" and target is None
            if not is_unset and (place not in chosen or chosen[place] != target):
                _check_target(place, target, trust)


def is_ours(target: str) -> bool:
    """Whether a target is a component of gdexp or torch, apart from the data sources."""
    return target in OURS or _is_torch(target)


def named_in(folders: Iterable[str]) -> frozenset[str]:
    """Every ``_target_`` in the YAML files of the user's folders of options."""
    import yaml

    names: set[str] = set()
    for path in (path for folder in folders for path in absolute(folder).rglob("*.yaml")):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            continue  # Hydra says what is wrong with it where it is chosen
        names |= {target for _, target in targets(content, "") if isinstance(target, str)}
    return frozenset(names)


def _check_plain(node: Any, place: str, depth: int = 1) -> None:
    """Raise ValueError unless a node is made of dicts, lists, strings, numbers and null.

    Hydra resolves references and reads the environment, so there must be none.
    """
    if depth > DEEPEST:
        raise ValueError(f"{place.partition('.')[0]} is nested more than {DEEPEST} levels deep")
    if isinstance(node, dict):
        for key, inner in node.items():
            if not isinstance(key, str):
                raise ValueError(f"{place} has a key that is not a string")
            _check_plain(inner, _inside(place, key), depth + 1)
    elif isinstance(node, list):
        for i, inner in enumerate(node):
            _check_plain(inner, f"{place}[{i}]", depth + 1)
    elif isinstance(node, str):
        if "${" in node or node == "???":
            raise ValueError(f"{place} is {excerpt(node)}, a reference instead of a value")
    elif not (node is None or type(node) in (bool, int, float)):
        raise ValueError(f"{place} is not a plain value")


def targets(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every ``_target_`` in a node, at any depth, and its place."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield place, node["_target_"]
        for key, inner in node.items():
            yield from targets(inner, _inside(place, key))
    elif isinstance(node, list | tuple):
        for i, inner in enumerate(node):
            yield from targets(inner, f"{place}[{i}]")


def _inside(place: str, key: Any) -> str:
    return f"{place}.{key}" if str(key).isidentifier() else f"{place}[{excerpt(key)}]"


def _check_target(place: str, target: Any, trust: Trust) -> None:
    if isinstance(target, str) and target in trust.own:
        return
    if not (isinstance(target, str) and NAME.fullmatch(target)):
        raise UntrustedError(f"{place} names {excerpt(target)}, which is not the name of a class.")
    if place == "data" and target in {f"gdexp.data.{name}" for name in SOURCES}:
        return
    if is_ours(target):
        return
    if not trust.includes(target):
        raise UntrustedError(f"{place} names {target}. {_refusal(target, trust)}")
    name = _name(_resolved(place, target))
    if not (trust.includes(name) or is_ours(name)):
        raise UntrustedError(f"{place} names {target}, which is {name}. {_refusal(name, trust)}")


def _refusal(name: str, trust: Trust) -> str:
    package = name.partition(".")[0]
    rule = (
        "What comes from a record may only be a component of gdexp, a module of torch.nn, an "
        "optimizer or scheduler of torch.optim, or code that you trust."
    )
    if package in {*sys.stdlib_module_names, "gdexp", "torch"}:
        return rule
    return f"{rule} If it is code of your own, type {trust.typed.format(f'{package}.*')}."


def _is_torch(target: str) -> bool:
    """Whether a name is that of a module of torch.nn, or of an optimizer or scheduler of torch.

    Nothing but these two packages is imported. It is the class that counts, not its name, as in
    ``torch.nn.modules.module.os.system``.
    """
    if not target.startswith(("torch.nn.", "torch.optim.")):
        return False
    import torch

    node: Any = torch
    path = "torch"
    for name in target.split(".")[1:]:
        path = f"{path}.{name}"
        node = getattr(node, name, sys.modules.get(path))  # torch.optim hides its modules
    if not inspect.isclass(node):
        return False
    home = f"{node.__module__}."
    if issubclass(node, torch.nn.Module):
        return home.startswith("torch.nn.modules.")
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return issubclass(node, kinds) and home.startswith("torch.optim.")


def _resolved(place: str, target: str) -> Any:
    try:
        return pkgutil.resolve_name(target)
    except (Exception, SystemExit) as error:
        reason = first_line(error).rstrip(".")
        raise ConfigError(f"{place}: {target} cannot be imported: {reason}.") from error


def _name(made: Any) -> str:
    """Where a class or function is defined; its type's name if it is neither."""
    if not (inspect.isclass(made) or inspect.isroutine(made)):
        made = type(made)
    return f"{getattr(made, '__module__', None)}.{getattr(made, '__qualname__', made)}"
