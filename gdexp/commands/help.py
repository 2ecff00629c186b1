"""``python -m gdexp --help``: every group with its options and every key, read off the YAML files.

The comment at a file's head is the option's meaning, the comment behind a key is the key's. So an
option of the user's own is listed like ours, and no component has to be imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gdexp.config import schema
from gdexp.config.compose import checked_dir, conf_dir

USAGE = """\
gdexp: gradient-descent experiments as combinations of YAML files, recorded in MLflow.

usage: python -m gdexp [FLAGS] [GROUP=OPTION ...] [KEY=VALUE ...]

  python -m gdexp step=autograd lr=0.05              one run
  python -m gdexp step=autograd gradient=manual      a step with one family changed
  python -m gdexp -m step=manual,model lr=0.001,0.01 a sweep: every combination
  python -m gdexp compare                            the last sweep as a table
  python -m gdexp ui                                 the last sweep in the browser
"""
FLAGS = """\
flags
  -m, --multirun      run every combination of the values given as KEY=A,B,C
  --config-dir DIR    add the options in your own folder, as in DIR/loss/mine.yaml
  --cfg job           print the composed configuration and stop
  --resolve           with --cfg: fill in ${lr} and the like
  -sc install=bash    shell completion: eval "$(gdexp -sc install=bash)"
  --hydra-help        everything else that Hydra can do
  --version           Hydra's version
"""
ORDER = ("step", "data", *schema.FAMILIES, "scheduler", "tracking", "sweep")
_SETTING = re.compile(r"^(?P<key>[a-zA-Z]\w*): *(?P<value>.*?)(?: +# *(?P<meaning>.*))?$")


def help_text(config_dir: str | None = None) -> str:
    """The whole page.

    Args:
        config_dir: a folder with options of the user's own, listed too.

    Raises:
        ConfigError: there is no such folder.
    """
    roots = [Path(conf_dir())]
    if config_dir is not None:
        roots.append(Path(checked_dir(config_dir)))
    sections = [_group(group, roots) for group in _groups(roots)]
    return "\n".join([USAGE, _run_settings(), *sections, FLAGS]).rstrip()


def _groups(roots: list[Path]) -> list[str]:
    found = {d.name for root in roots for d in root.iterdir() if d.is_dir() and d.name != "hydra"}
    return sorted(found, key=lambda g: (ORDER.index(g) if g in ORDER else len(ORDER), g))


def _run_settings() -> str:
    lines = ["settings of a run"]
    for key, default, allowed, meaning in schema.meanings():
        lines.append(
            f"  {key + '=' + schema.shown(default).strip(chr(39)):<30} {meaning}; {allowed}"
        )
    return "\n".join(lines) + "\n"


def _group(group: str, roots: list[Path]) -> str:
    lines = [f"{group}=OPTION"]
    files = {p.stem: p.read_text().splitlines() for r in roots for p in (r / group).glob("*.yaml")}
    # The steps in the tutorial's order, which their first comment gives; all else by name.
    names = sorted(files, key=lambda name: _meaning(files[name]) if group == "step" else name)
    for name in names:
        text = files[name]
        lines.append(f"  {name:<30} {_meaning(text)}")
        if group != "step":
            for key, value, meaning in _settings(text):
                lines.append(f"    {f'{group}.{key}={value}':<28} {meaning}".rstrip())
    return "\n".join(lines) + "\n"


def _meaning(lines: list[str]) -> str:
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return next((c for c in comments if not c.startswith("@package")), "")


def _settings(lines: list[str]) -> Iterator[tuple[str, str, str]]:
    for line in lines:
        if (found := _SETTING.match(line)) and found["key"] != "defaults":
            yield found["key"], found["value"], found["meaning"] or ""
