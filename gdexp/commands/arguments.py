"""The command line of a run: Hydra's flags, then settings; any other word is refused.

The error suggests what was probably meant: the command for ``compar``, the option for ``autograd``,
the setting for ``--lr 0.1``.
"""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from gdexp.commands import COMMANDS
from gdexp.commands.help import FLAGS, Catalogue, catalogue
from gdexp.config import schema
from gdexp.errors import ConfigError, did_you_mean, nearest

SEE_HELP = "python -m gdexp --help lists what can be typed."


def parse(argv: Sequence[str]) -> Namespace:
    """Parse the arguments as Hydra does.

    Raises:
        ConfigError: a word is neither a flag nor a setting, or a flag lacks its value.
    """
    parser = get_args_parser()
    flags = {text for action in parser._actions for text in action.option_strings}
    for i, word in enumerate(argv):
        if word.startswith("-") and word.partition("=")[0] not in flags:
            _check_flag(argv, i)

    def error(message: str) -> NoReturn:
        raise ConfigError(f"{message}. {SEE_HELP}")

    setattr(parser, "error", error)  # noqa: B010  (mypy refuses to assign to a method)
    args, extras = parser.parse_known_args(argv)
    _check_extras(argv, args.overrides, extras)
    if not args.shell_completion:
        _check_words(args.overrides, args.config_dir)
    return args


def _check_flag(argv: Sequence[str], i: int) -> None:
    """Refuse a command or a setting with leading dashes."""
    name, _, value = argv[i].lstrip("-").partition("=")
    if name in COMMANDS:
        raise ConfigError(f"{argv[i]}: {name} is a command. Type python -m gdexp {name}.")
    if name in (keys := _keys(catalogue())):
        value = value or _value_after(argv, i) or keys[name]
        raise ConfigError(f"{argv[i]}: settings are typed without dashes, as in {name}={value}.")


def _check_extras(argv: Sequence[str], overrides: list[str], extras: list[str]) -> None:
    """Refuse unknown flags, and settings on both sides of a flag."""
    unknown = [word for word in extras if word.startswith("-")]
    if unknown:
        known = re.findall(r"--[\w-]+", FLAGS)
        raise ConfigError(
            f"unrecognized arguments: {' '.join(unknown)}.{did_you_mean(unknown[0], known)} "
            f"{SEE_HELP}"
        )
    if extras:
        settings = [*overrides, *extras]
        flags = [word for word in argv if word not in settings]
        raise ConfigError(
            f"{extras[0]}: flags come before settings. Type "
            f"python -m gdexp {shlex.join([*flags, *settings])}"
        )


def _check_words(words: Sequence[str], config_dir: str | None) -> None:
    """Refuse words that are not overrides: without ``=``, and not starting with ``~``."""
    for i, word in enumerate(words):
        if "=" in word.lstrip("=") or word.startswith("~"):
            continue
        if i and words[i - 1].endswith("="):
            before = words[i - 1]
            raise ConfigError(f"{before} {word}: remove the space after =. Type {before}{word}.")
        if word in COMMANDS:
            raise ConfigError(f"{word} is a command: it comes first, as in python -m gdexp {word}.")
        if word == "run":
            raise ConfigError(
                "'run' is not a command: a run needs none. Leave it out, as in "
                "python -m gdexp step=autograd."
            )
        if not word.startswith("="):
            raise ConfigError(_unknown(words, i, catalogue(config_dir)))


def _unknown(words: Sequence[str], i: int, groups: Catalogue) -> str:
    word, keys = words[i], _keys(groups)
    if word in keys:
        value = _value_after(words, i)
        if value is None and word in groups:
            return f"{word!r} has no value. {word} is one of: {', '.join(groups[word])}."
        example = f"Type {word}={value}" if value else f"Type for example {word}={keys[word]}"
        return f"{word!r} has no value. {example}."
    meant = {name: name for name in COMMANDS}
    meant |= {key: f"{key}={default}" for key, default in keys.items()}
    for group, options in groups.items():
        for option in options:
            choice = f"{group}={option}"
            meant[option] = f"{meant[option]} or {choice}" if option in meant else choice
    for key, default in keys.items():
        meant.setdefault(key.rpartition(".")[2], f"{key}={default}")
    name = nearest(word, meant)
    hint = f"Did you mean {meant[name]}?" if name else SEE_HELP
    return f"{word!r} is not a command. {hint}"


def _value_after(words: Sequence[str], i: int) -> str | None:
    """The value in ``lr 0.1`` or ``lr = 0.1``; None if there is none."""
    rest = [word.lstrip("=") for word in words[i + 1 : i + 3]]
    value = next((word for word in rest if word), None)
    return None if value is None or "=" in value or value.startswith("--") else value


def _keys(groups: Catalogue) -> dict[str, str]:
    """Every setting with an example value; for a group, its first option."""
    keys = {group: next(iter(options)) for group, options in groups.items() if options}
    for key, default, _, _ in schema.meanings():
        keys[key] = schema.shown(default).strip("'")
    for group, options in groups.items():
        for option in options.values():
            for name, value, _ in option.settings:
                keys.setdefault(f"{group}.{name}", value)
    return keys
