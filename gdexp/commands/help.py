"""``python -m gdexp --help``: every group with its options and keys, read from the YAML files.

The first comment of a file describes the option, the comment after a key describes the key. So the
user's own options are listed like ours, and no component is imported.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, TypeAlias

from gdexp.commands import COMMANDS
from gdexp.config import schema
from gdexp.config.folders import checked_dir, conf_dir

USAGE = """\
gdexp: gradient-descent experiments as combinations of YAML files, recorded in MLflow.

usage: python -m gdexp [FLAGS] [GROUP=OPTION ...] [KEY=VALUE ...]
       python -m gdexp COMMAND [ARGUMENTS ...]

  python -m gdexp step=autograd lr=0.05              one run
  python -m gdexp step=autograd gradient=manual      a step with one family changed
  python -m gdexp -m step=manual,model lr=0.001,0.01 a sweep: every combination
"""
PLUGINS = """\
  hydra/launcher=basic           one run after another, by Hydra itself
  hydra/launcher=joblib          one process per run (pip install 'gdexp[joblib]')
  hydra/launcher=submitit_slurm  a Slurm array for a sweep; submitit_local: here ('gdexp[slurm]')
  hydra/sweeper=optuna           Optuna chooses the values (pip install 'gdexp[optuna]')
"""
FLAGS = """\
flags, before, between or after settings
  -m, --multirun      run every combination of values given as KEY=A,B,C
  --config-dir DIR    add the options in your own folder, as in DIR/loss/mine.yaml
  --cfg job           print the composed configuration and stop
  --resolve           with --cfg: replace ${lr} and other references by values
  -sc install=bash    shell completion: eval "$(gdexp -sc install=bash)"
  --hydra-help        everything else that Hydra can do
  --version           gdexp's version
  hydra.verbose=true  print the settings of a run and what libraries log
"""
RECORDED = """\
what is recorded of epoch k, and at the end
  train/loss, grad/...             before update k, at the parameters left by epoch k - 1
  param/..., validation/loss       after update k
  final/loss                       train/loss of the last epoch: before the last update
  final/..., validation/..., coef/ predictions, scores, coefficients: after the last update
  forecast/...                     before the first epoch: curvature, the largest lr, epochs needed
  check/...                        after the last update: what the run turned out to be
  best/loss, best/epoch            the smallest train/loss, and its epoch
  final/r2                         R^2, centred: 1 - sum((y - f(x))^2) / sum((y - mean(y))^2)
  final/epoch                      with stop.patience: the epoch of the smallest validation loss,
                                   whose parameters are restored and described by final/...;
                                   checkpoints keep the last ones, as does stop.restore_best=false
"""
ORDER = ("step", "experiment", "data", *schema.FAMILIES, "scheduler", "tracking", "sweep")
_SETTING = re.compile(r"^(?P<key>[a-zA-Z]\w*): *(?P<value>.*?)(?: +# *(?P<meaning>.*))?$")


class Option(NamedTuple):
    """An option as its YAML file describes it.

    Attributes:
        meaning: the first comment.
        settings: the key, default and meaning of each setting; a preset has none of its own.
    """

    meaning: str
    settings: list[tuple[str, str, str]]


Catalogue: TypeAlias = dict[str, dict[str, Option]]  # the options of each group, by name


def help_text(config_dir: str | None = None) -> str:
    """The help page.

    Args:
        config_dir: a folder with the user's own options, listed with ours.

    Raises:
        ConfigError: config_dir does not exist.
    """
    sections = [
        _group(group, options, _folders(group, config_dir))
        for group, options in catalogue(config_dir).items()
    ]
    parts = [USAGE, _commands(), _run_settings(), *sections, _engines(), RECORDED, FLAGS]
    return "\n".join(parts).rstrip()


def catalogue(config_dir: str | None = None) -> Catalogue:
    """Every group with its options, read from the YAML files.

    Steps are sorted by their first comment, which is the tutorial's order; other options by name.

    Raises:
        ConfigError: config_dir does not exist.
    """
    roots = _roots(config_dir)
    folders = {d.name for root in roots for d in root.iterdir() if d.is_dir()} - {"hydra"}
    groups = {}
    for group in sorted(folders, key=lambda g: (ORDER.index(g) if g in ORDER else len(ORDER), g)):
        files = [path for root in roots for path in (root / group).glob("*.yaml")]
        options = {path.stem: _read(path) for path in files}
        names = sorted(options, key=lambda n: options[n].meaning if group == "step" else n)
        groups[group] = {name: options[name] for name in names}
    return groups


def _roots(config_dir: str | None) -> list[Path]:
    own = [] if config_dir is None else [Path(checked_dir(config_dir))]
    return [Path(conf_dir()), *own]


def _folders(group: str, config_dir: str | None) -> dict[str, list[str]]:
    """The names of the options in each folder within a group."""
    folders: dict[str, list[str]] = {}
    for root in _roots(config_dir):
        for path in sorted((root / group).rglob("*.yaml")):
            folder = path.parent.relative_to(root / group).as_posix()
            if folder != ".":
                folders.setdefault(folder, []).append(path.stem)
    return folders


def _commands() -> str:
    lines = [f"  python -m gdexp {name:<13} {line}" for name, line in COMMANDS.items()]
    return "\n".join(["commands, each with its own --help", *lines, ""])


def _run_settings() -> str:
    lines = ["settings of a run"]
    for key, default, allowed, meaning in schema.meanings():
        lines.append(
            f"  {key + '=' + schema.shown(default).strip(chr(39)):<30} {meaning}; {allowed}"
        )
    return "\n".join(lines) + "\n"


def _engines() -> str:
    """Where a sweep is computed: our launcher's engines, Hydra's launchers and sweepers."""
    lines = ["hydra/launcher=OPTION and hydra/sweeper=OPTION: where and how a sweep is computed"]
    for name in ("launcher/vectorized", "sweeper/grid"):
        group = name.partition("/")[0]
        option = _read(Path(conf_dir(), "hydra", f"{name}.yaml"))
        lines.append(f"  {f'hydra/{name}'.replace('r/', 'r='):<30} {option.meaning}")
        for key, value, meaning in option.settings:
            lines.append(f"    {f'hydra.{group}.{key}={value}':<28} {meaning}")
    return "\n".join(lines) + "\n" + PLUGINS


def _group(group: str, options: dict[str, Option], folders: dict[str, list[str]]) -> str:
    lines = [f"{group}=OPTION"]
    for name, option in options.items():
        lines.append(f"  {name:<30} {option.meaning}")
        for key, value, meaning in option.settings:
            lines.append(f"    {f'{group}.{key}={value}':<28} {meaning}".rstrip())
    for folder, names in folders.items():
        lines.append(f"  {f'{folder}/NAME':<30} NAME is one of: {', '.join(names)}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> Option:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    meaning = next((c for c in comments if not c.startswith("@package")), "")
    if any("@package _global_" in comment for comment in lines):
        return Option(meaning, [])
    matches = [match for line in lines if (match := _SETTING.match(line))]
    return Option(
        meaning,
        [(m["key"], m["value"], m["meaning"] or "") for m in matches],
    )
