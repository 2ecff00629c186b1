"""The resolved configuration of a run, as its artifact ``config.yaml``."""

from __future__ import annotations

import functools
import json

import yaml

from gdexp.config.job import Job

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # in C, if PyYAML was built with libyaml


def config_text(job: Job) -> str:
    """The resolved configuration as YAML, without whom its user trusts: a record cannot say so."""
    recorded = {key: value for key, value in job.settings.items() if key != "trust"}
    return "".join(_yaml(key, json.dumps(value)) for key, value in recorded.items())


@functools.lru_cache(maxsize=10_000)
def _yaml(key: str, value: str) -> str:
    """One setting as YAML, cached because the runs of a sweep share most of their settings."""
    loaded = {key: json.loads(value)}
    return yaml.dump(loaded, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
