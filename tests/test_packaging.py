"""The built wheel, installed alone, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from helpers import CHECKOUT, PATIENCE, clean_environment

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a virtual environment with the wheel, on top of this one's packages."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(CHECKOUT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    bin_folder = folder / "venv" / "bin"
    install = [str(bin_folder / "pip"), "install", "--quiet", "--no-deps", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin_folder


def answer(installed: Path, cwd: Path, *command: str, **environment: str) -> str:
    outside = {k: v for k, v in clean_environment().items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(installed / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=outside | environment,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_brings_its_own_conf(installed: Path, tmp_path: Path) -> None:
    where = "import gdexp.config.compose as c; print(c.conf_dir())"
    folder = Path(answer(installed, tmp_path, "python", "-c", where).strip())
    assert folder.is_relative_to(installed.parent)
    ours = {str(p.relative_to(CHECKOUT / "conf")) for p in (CHECKOUT / "conf").rglob("*.yaml")}
    assert {str(p.relative_to(folder)) for p in folder.rglob("*.yaml")} == ours


@pytest.mark.parametrize("command", [["python", "-m", "gdexp"], ["gdexp"]], ids=" ".join)
def test_it_runs_in_an_empty_folder(command: list[str], installed: Path, tmp_path: Path) -> None:
    out = answer(installed, tmp_path, *command, "step=manual", "iters=10")
    assert out.endswith(" Prediction after training: f(5) = 9.999\n")
    assert (tmp_path / "outputs" / "mlflow.db").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {"outputs"}
    assert "step=OPTION" in answer(installed, tmp_path, *command, "--help")


def test_it_writes_a_report(installed: Path, tmp_path: Path) -> None:
    answer(installed, tmp_path, "gdexp", "step=manual", "iters=2")
    page = Path(answer(installed, tmp_path, "gdexp", "report", "--out", "r.html").strip())
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_the_console_script_completes_options(installed: Path, tmp_path: Path) -> None:
    assert "complete" in answer(installed, tmp_path, "gdexp", "-sc", "install=bash")

    def completed(line: str) -> set[str]:
        path = f"{installed}{os.pathsep}{os.environ['PATH']}"
        out = answer(installed, tmp_path, "gdexp", "-sc", "query=bash", COMP_LINE=line, PATH=path)
        return set(out.split())

    assert completed("gdexp step=") == {
        f"step={s}" for s in ("manual", "autograd", "optimizer", "model")
    }
    assert "updater.lr=" in completed("gdexp updater.")
