"""Refuses bad input before anything is created.

:func:`check` lists the jobs that the overrides ask for. :mod:`gdexp.preflight.names` compares names
with the groups and their YAML files, and :mod:`gdexp.preflight.jobs` checks each job.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import DictConfig, OmegaConf

from gdexp.config.compose import Composer
from gdexp.config.job import Job
from gdexp.config.overrides import as_sweep, is_hydras, parse
from gdexp.descent.signals import exposed
from gdexp.errors import ConfigError
from gdexp.preflight.jobs import JobCheck
from gdexp.preflight.names import check_choice, composed, holder, key_of
from gdexp.sweep import grids
from gdexp.sweep.generations import ALL
from gdexp.sweep.grids.axis import Overrides, axis_of, check_axis, run_overrides
from gdexp.sweep.grids.ranges import checked
from gdexp.sweep.sweeper import first_seed

ANYONES = ("sweep.on_error", "sweep.vectorize", "sweep.memory", "sweep.max_runs")  # any sweeper's
SHOWN = 1000  # values of one setting that are checked, if another sweeper chooses among them


@exposed()
def check(overrides: Sequence[str], composer: Composer, *, multirun: bool) -> Job:
    """Refuse the first job that has an unknown name, a value out of range, or does not build.

    Every job of a sweep is checked; what several jobs have in common is checked once.

    Returns:
        The run, or the first run of the sweep.

    Raises:
        ConfigError: a job is invalid; says which override, and what to type instead.
    """
    parsed = [parse(text, composer.loader) for text in overrides]
    groups = composer.groups()
    if not multirun:
        _check_single(parsed)
    for override in parsed:
        if override.is_sweep_override():
            check_axis(key_of(override), str(override.input_line))
    for override in parsed:
        if key_of(override) in groups:
            check_choice(override, composer)
    for override in parsed:
        if override.is_delete() and not (key_of(override) in groups or _is_hydras(override)):
            raise ConfigError(f"~{key_of(override)}: it cannot be removed, every run needs it.")
    hydras = tuple(str(o.input_line) for o in parsed if _is_hydras(o))
    own = [o for o in parsed if not _is_hydras(o)]
    texts = [str(override.input_line) for override in own]
    jobs = _jobs(own, texts, hydras, composer) if multirun else [tuple(texts)]
    try:
        return JobCheck(composer, hydras, multirun=multirun).check(jobs)
    except ConfigError as error:
        _check_whole(error, own)
        raise


def _check_single(parsed: Sequence[Override]) -> None:
    """Refuse overrides that need a multirun."""
    for override in parsed:
        text = override.input_line
        if key_of(override).partition(".")[0] == "sweep":
            raise ConfigError(f"{text}: a sweep is a multirun. Add -m.")
        if override.is_sweep_override():
            raise ConfigError(
                f"{text} names several values. Add -m to run each of them: "
                f"python -m gdexp -m {as_sweep(str(text))}"
            )


def _check_whole(error: ConfigError, parsed: Sequence[Override]) -> None:
    """Say what to type, if a setting that is a whole number was refused as it has an interval."""
    for override in parsed:
        key, value = key_of(override), override.value()
        is_named = str(error).startswith(f"{key}: ") and "a whole number" in str(error)
        if is_named and isinstance(value, IntervalSweep) and isinstance(value.start, float):
            raise ConfigError(
                f"{override.input_line}: {key} is a whole number. "
                f"Type {key}=int(interval({value.start:.15g},{value.end:.15g}))."
            ) from error


def _jobs(
    parsed: Sequence[Override], texts: Sequence[str], hydras: Overrides, composer: Composer
) -> Iterable[Overrides]:
    """The jobs of a sweep; of another sweeper's, those that show each value once."""
    groups = composer.groups()
    chosen = [o for o in parsed if key_of(o) in groups and not o.is_sweep_override()]
    cfg = composed(composer, [*hydras, *(str(o.input_line) for o in chosen)])
    _check_plugins(cfg.hydra)
    settings = [o for o in parsed if key_of(o).startswith("sweep.")]
    for override in settings:
        holder(key_of(override), cfg)
        OmegaConf.update(cfg, key_of(override), override.value())
    option = cfg.hydra.runtime.choices.sweep
    params = _params(cfg)
    target = str(cfg.hydra.sweeper._target_)
    if not target.endswith(".GridSweeper"):
        _check_foreign(cfg.hydra.runtime.choices["hydra/sweeper"], option, map(key_of, settings))
    if not target.endswith((".GridSweeper", ".BasicSweeper")):  # these run every combination
        checked(cfg.sweep, option)
        _check_choosable(cfg.hydra, parsed)
        return _shown(run_overrides([*params, *texts], composer.loader))
    seed = _seed(parsed, cfg)
    return grids.jobs([*params, *texts], cfg.sweep, option, seed, loader=composer.loader)


def _check_plugins(hydra: DictConfig) -> None:
    """Refuse a sweeper or launcher that is none of Hydra's plugins."""
    for name in ("sweeper", "launcher"):
        target = str((hydra[name] or {}).get("_target_"))
        if not target.startswith(("hydra_plugins.", "hydra._internal.core_plugins.")):
            raise ConfigError(
                f"hydra.{name}: {target} is not a {name} for Hydra. Choose one by its name, as in "
                f"hydra/{name}=basic."
            )


def _params(cfg: DictConfig) -> list[str]:
    """The values to sweep that the sweeper's own settings name, as overrides."""
    params = (cfg.hydra.sweeper.get("params") or {}).items()
    return [f"{key}={value}" for key, value in params if not isinstance(value, DictConfig)]


def _seed(parsed: Sequence[Override], cfg: DictConfig) -> int | None:
    """The first seed of sweep.repeat; an invalid one is refused with the job that has it."""
    typed = [o.value() for o in parsed if key_of(o) == "seed" and not o.is_sweep_override()]
    if typed and "${hydra" in str(typed[-1]):
        return None
    return typed[-1] if typed and isinstance(typed[-1], int) else first_seed(cfg)


def _check_foreign(sweeper: str, option: str, keys: Iterable[str]) -> None:
    """Refuse settings of our grids if another sweeper chooses the jobs."""
    words = [f"sweep={option}"] if option != "grid" else []
    words += [key for key in keys if key not in ANYONES]
    if words:
        raise ConfigError(f"{words[0]}: hydra/sweeper={sweeper} chooses the jobs itself. Drop one.")


def _check_choosable(hydra: DictConfig, parsed: Iterable[Override]) -> None:
    """Refuse a search by Optuna that has nothing to choose: it would repeat one run."""
    sweeper = hydra.sweeper
    spaces = (sweeper.get(name) for name in ("params", "search_space", "custom_search_space"))
    if ALL in sweeper and not any(spaces) and not any(o.is_sweep_override() for o in parsed):
        raise ConfigError(
            f"hydra/sweeper={hydra.runtime.choices['hydra/sweeper']}: there is nothing to choose. "
            "Type for example 'lr=tag(log,interval(0.001,0.1))'."
        )


def _shown(overrides: Sequence[tuple[Override, str]]) -> list[Overrides]:
    """Jobs that another sweeper may choose: each value once, beside the first value of the rest."""
    axes = [list(itertools.islice(_alternatives(o, text), SHOWN)) for o, text in overrides]
    first = tuple(values[0] for values in axes)
    others = (
        (*first[:i], value, *first[i + 1 :])
        for i, values in enumerate(axes)
        for value in values[1:]
    )
    return list(dict.fromkeys(itertools.chain([first], others)))


def _alternatives(override: Override, text: str) -> Iterator[str]:
    """One override for each value of an override; for the ends of an interval."""
    if isinstance(interval := override.value(), IntervalSweep):
        key = override.get_key_element()
        yield from (f"{key}={interval.start}", f"{key}={interval.end}")
    elif override.is_sweep_override():
        yield from itertools.chain.from_iterable(axis_of(override, text).alternatives)
    else:
        yield text


def _is_hydras(override: Override) -> bool:
    return is_hydras(str(override.input_line))
