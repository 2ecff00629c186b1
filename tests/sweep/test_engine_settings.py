"""Settings of engines and launchers that mean nothing, refused before anything is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from helpers import CLI
from hydra.errors import HydraException

from gdexp.errors import ConfigError
from gdexp.preflight.names import EXTRAS, composed
from gdexp.sweep.workers import engines


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ("joblb", None, None),
            "hydra.launcher.engine=joblb: it is one of: local, joblib, ray."
            " Did you mean hydra.launcher.engine=joblib?",
        ),
        (
            ("joblib", 0, None),
            "hydra.launcher.workers=0: a whole number of processes >= 1 is expected, "
            "or null for one per core.",
        ),
        (
            ("ray", 1.5, None),
            "hydra.launcher.workers=1.5: a whole number of processes >= 1 is expected, "
            "or null for one per core.",
        ),
        (
            ("local", 2, None),
            "hydra.launcher.workers=2: engine=local computes in this process alone. "
            "Add hydra.launcher.engine=joblib.",
        ),
        (
            ("joblib", 2, "auto"),
            "hydra.launcher.address=auto: only Ray has one. Add hydra.launcher.engine=ray.",
        ),
        *(
            (
                ("ray", 2, address),
                f"hydra.launcher.address={address}: "
                "auto, HOST:PORT or ray://HOST:PORT is expected.",
            )
            for address in ("", "here", "here:http", "http://here:80", "ray://here", "[::1:80", 5)
        ),
        *(
            (
                ("ray", 2, address),
                f"hydra.launcher.address={address}: no Ray cluster answers there, or it requires "
                "a token (see RAY_AUTH_TOKEN). Start one with ray start --head, or leave the "
                "address out.",
            )
            for address in ("127.0.0.1:1", "ray://127.0.0.1:1")
        ),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        engines.create(*settings)
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["joblib", "ray"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        engines.create(name, None, None)
    assert str(refused.value) == (
        f"hydra.launcher.engine={name}: {name} is not installed. Type pip install 'gdexp[{name}]'."
    )


@pytest.mark.parametrize(("option", "extra"), EXTRAS.items())
def test_the_extra_of_a_missing_option_is_named(option: str, extra: str) -> None:
    class Without:
        def compose(self, choices: list[str]) -> Any:
            raise HydraException(f"In 'hydra/config': Could not find '{option}'\n\nAvailable: …")

    with pytest.raises(ConfigError) as refused:
        composed(cast(Any, Without()), [])
    group, _, name = option.rpartition("/")
    assert str(refused.value) == (
        f"{group}={name}: it is not installed. Type pip install 'gdexp[{extra}]'."
    )


@pytest.mark.parametrize(("launcher", "extra"), [("joblib", "joblib"), ("submitit_slurm", "slurm")])
def test_the_extra_of_a_missing_launcher_is_named(launcher: str, extra: str, workdir: Path) -> None:
    hidden = [f"hydra_plugins.hydra_{name}_launcher" for name in ("joblib", "submitit")]
    program = (
        f"import sys; sys.argv[0] = 'gdexp'; sys.modules.update(dict.fromkeys({hidden}));"
        "from gdexp.commands import main; main()"
    )
    words = ["-m", "lr=0.01,0.02", f"hydra/launcher={launcher}"]
    ended = subprocess.run(
        [sys.executable, "-c", program, *words], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"gdexp: hydra/launcher={launcher}: it is not installed. "
        f"Type pip install 'gdexp[{extra}]'.\n"
    )
    assert not list(workdir.iterdir())


@pytest.mark.parametrize("word", ["engine=joblb", "workers=0", "address=auto"])
def test_the_command_line_refuses_before_it_creates_anything(
    word: str, workdir: Path, cli: CLI
) -> None:
    ended = cli("-m", "lr=0.01,0.02", f"hydra.launcher.{word}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"gdexp: hydra.launcher.{word}: ")
    assert ended.err.count("\n") == 1
    assert not list(workdir.iterdir())


def test_the_settings_of_other_launchers_are_their_own() -> None:
    engines.check_engine({"_target_": "hydra._internal.BasicLauncher"})
