"""The command line of a run: Hydra's flags and settings, in any order; other words are refused.

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
from gdexp.config import __version__, schema
from gdexp.config.overrides import SYNONYMS, readable
from gdexp.errors import ConfigError, did_you_mean, nearest

SEE_HELP = "python -m gdexp --help lists what can be typed."


NULL_GROUP = re.compile(r"(hydra/\w+)=(null|~|)", re.IGNORECASE)


def parse(argv: Sequence[str]) -> Namespace:
    """Parse the arguments as Hydra does, with flags between settings and values in need of quotes.

    Raises:
        ConfigError: a word is neither a flag nor a setting, a flag lacks its value or another flag.
    """
    parser = get_args_parser()
    for action in parser._actions:
        if action.dest == "version":
            setattr(action, "version", f"gdexp {__version__}")  # noqa: B010
    flags = {text for action in parser._actions for text in action.option_strings}
    for i, word in enumerate(argv):
        if word.startswith("-") and word.partition("=")[0] not in flags:
            _check_flag(argv, i)

    def error(message: str) -> NoReturn:
        raise ConfigError(f"{message}. {SEE_HELP}")

    setattr(parser, "error", error)  # noqa: B010  (mypy refuses to assign to a method)
    args, unknown = parser.parse_known_intermixed_args(argv)
    if unknown:
        known = re.findall(r"--[\w-]+", FLAGS)
        hint = did_you_mean(unknown[0], known)
        raise ConfigError(f"unrecognized arguments: {' '.join(unknown)}.{hint} {SEE_HELP}")
    _check_flags(args)
    if not args.shell_completion:
        args.overrides = checked_words(args.overrides, args.config_dir)
    if "hydra.mode=MULTIRUN" in args.overrides:
        args.multirun = True
    return args


def checked_words(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Overrides as Hydra can read them.

    Raises:
        ConfigError: a word is not an override; says what was probably meant.
    """
    _check_words(words, config_dir)
    return [readable(word) for word in words]


def _check_flags(args: Namespace) -> None:
    """Refuse flags that would have no effect, or that exclude each other."""
    asked = {
        "--run": args.run,
        "--multirun": args.multirun,
        "--cfg": args.cfg is not None,
        "--info": args.info is not None,
        "--shell-completion": args.shell_completion,
        "hydra.mode=RUN": args.multirun and "hydra.mode=RUN" in args.overrides,
    }
    if len(given := [flag for flag, is_given in asked.items() if is_given]) > 1:
        raise ConfigError(f"{' and '.join(given)} exclude each other. Leave one of them out.")
    if args.experimental_rerun is not None:
        raise ConfigError(
            "--experimental-rerun: gdexp cannot rerun a pickle of Hydra's. Type the run's own "
            "overrides; they are its tag gdexp.overrides."
        )
    if args.cfg is None and (args.package or args.resolve):
        flag = "--package" if args.package else "--resolve"
        raise ConfigError(f"{flag} only changes what --cfg prints. Add --cfg job.")
    if args.config_path is not None:
        raise ConfigError(
            "--config-path: gdexp needs its own configuration files. Add yours with --config-dir "
            f"{shlex.quote(args.config_path)}"
        )


def _check_flag(argv: Sequence[str], i: int) -> None:
    """Refuse a command or a setting with leading dashes."""
    name, _, value = argv[i].lstrip("-").partition("=")
    name = SYNONYMS.get(name.replace("-", "_"), name)
    if name in COMMANDS:
        raise ConfigError(f"{argv[i]}: {name} is a command. Type python -m gdexp {name}.")
    if name in (keys := _keys(catalogue())):
        value = value or _value_after(argv, i) or keys[name]
        raise ConfigError(f"{argv[i]}: settings are typed without dashes, as in {name}={value}.")


def _check_words(words: Sequence[str], config_dir: str | None) -> None:
    """Refuse words that are not overrides: without ``=``, and not starting with ``~``."""
    for i, word in enumerate(words):
        if group := NULL_GROUP.fullmatch(word):
            raise ConfigError(f"{word}: name an option, or leave {group[1]} out.")
        if "=" in word.lstrip("=") or word.startswith("~"):
            continue
        if i and words[i - 1].endswith("="):
            before = words[i - 1]
            raise ConfigError(f"{before} {word}: remove the space after =. Type {before}{word}.")
        if i and (words[i - 1].endswith(",") or word.startswith(",")):
            raise ConfigError(_apart(words, i))
        if word in COMMANDS:
            raise ConfigError(f"{word} is a command: it comes first, as in python -m gdexp {word}.")
        if word == "run":
            raise ConfigError(
                "'run' is not a command: a run needs none. Leave it out, as in "
                "python -m gdexp step=autograd."
            )
        if not word.startswith("="):
            raise ConfigError(_unknown(words, i, catalogue(config_dir)))


def _apart(words: Sequence[str], i: int) -> str:
    """The message for a list of values with spaces, whose second part is word i."""
    whole = words[i - 1]
    for word in words[i:]:
        if "=" in word or not (whole.endswith(",") or word.startswith(",")):
            break
        whole += word
    return f"{words[i - 1]} {words[i]}: remove the space at the comma. Type {shlex.quote(whole)}."


def _unknown(words: Sequence[str], i: int, groups: Catalogue) -> str:
    word, keys = words[i], _keys(groups)
    if word in keys:
        value = _value_after(words, i)
        if value is None and word in groups:
            return f"{word!r} has no value. {word} is one of: {', '.join(groups[word])}."
        example = f"Type {word}={value}" if value else f"Type for example {word}={keys[word]}"
        return f"{word!r} has no value. {example}."
    key, _, value = word.partition(":")
    if value and key in keys:
        return f"{word}: a setting and its value are joined by =. Type {key}={value}."
    meant = {name: name for name in COMMANDS} | {"resume": "sweep.resume=last"}
    meant |= {key: f"{key}={default}" for key, default in keys.items()}
    for group, options in groups.items():
        for option in options:
            choice = f"{group}={option}"
            meant[option] = f"{meant[option]} or {choice}" if option in meant else choice
    for key, default in keys.items():
        meant.setdefault(key.rpartition(".")[2], f"{key}={default}")
    name = SYNONYMS.get(word) or nearest(word, meant)
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
