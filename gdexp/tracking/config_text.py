"""The resolved configuration of a run, as its artifact ``config.yaml``."""

from __future__ import annotations

import json
from typing import Any

import yaml

from gdexp.config.job import Job

KEPT = 10_000  # settings whose text is kept
_texts: dict[tuple[str, str], str] = {}
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, if PyYAML was built with libyaml


def config_text(job: Job) -> str:
    """The resolved configuration as YAML, without whom its user trusts: a record cannot say so."""
    recorded = {key: value for key, value in job.settings.items() if key != "trust"}
    return "".join(_yaml(key, value) for key, value in recorded.items())


def _yaml(key: str, value: Any) -> str:
    """One setting as YAML, kept because the runs of a sweep share most of their settings."""
    if (text := _texts.get((key, repr(value)))) is None:
        plain = json.loads(json.dumps({key: value}))  # YAML has a syntax for what is shared
        text = yaml.dump(plain, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
        if len(_texts) >= KEPT:
            _texts.clear()
        _texts[key, repr(value)] = text
    return text
