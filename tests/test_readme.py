"""The README's commands, executed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKOUT, PATIENCE, clean_environment

README = (CHECKOUT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [
    line.split("#")[0].strip()
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
]
INSTALLING = [command for command in COMMANDS if command.startswith("python3 -m venv")]


def test_it_is_short_and_shows_a_picture() -> None:
    assert len(README.splitlines()) < 150
    (picture,) = re.findall(r"!\[.+\]\((.+)\)", README)
    assert (CHECKOUT / picture).stat().st_size > 10_000


def test_its_two_installing_lines_use_the_constraints_in_a_virtual_environment() -> None:
    run, test = INSTALLING
    for command in (run, test):
        assert ".venv/bin/pip install -c scripts/constraints.txt -e" in command
    assert run.endswith(".venv/bin/python -m gdexp step=autograd lr=0.05")
    assert test.endswith(".venv/bin/python -m pytest")
    gate = (CHECKOUT / ".ci" / "run").read_text()
    assert "grep -m1 'm pytest$' README.md" in gate


@pytest.mark.parametrize("page", ["README.md", "conf/README.md", "gdexp/README.md"])
def test_every_file_it_names_exists(page: str) -> None:
    text = (CHECKOUT / page).read_text()
    here = (CHECKOUT / page).parent
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (here / link).exists(), link
    for name in re.findall(r"`((?:conf|gdexp|scripts|tests)/[\w./]*)`", text):
        assert (CHECKOUT / name).exists(), name


def test_the_code_page_names_every_module() -> None:
    text = (CHECKOUT / "gdexp" / "README.md").read_text()
    named = set(re.findall(r"`([\w/]+)`", text))
    modules = {p.stem for p in (CHECKOUT / "gdexp").glob("*.py") if not p.stem.startswith("_")}
    packages = {f"{p.parent.name}/" for p in (CHECKOUT / "gdexp").glob("*/__init__.py")}
    assert modules | packages <= named


def test_the_options_page_names_every_option() -> None:
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (.*?) \|", (CHECKOUT / "conf/README.md").read_text(), re.M)
    )
    for folder in (p for p in (CHECKOUT / "conf").iterdir() if p.is_dir() and p.name != "hydra"):
        assert set(rows[folder.name].split(", ")) == {p.stem for p in folder.glob("*.yaml")}


@pytest.mark.slow
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    write_example_files(tmp_path)
    done = [command for command in COMMANDS if command not in INSTALLING]
    assert len(done) >= 10
    for command in done:
        if "gdexp ui" in command:
            check_ui(command, tmp_path)
            continue
        ended = start(command, tmp_path)
        _, err = ended.communicate(timeout=PATIENCE)
        assert ended.returncode == 0, (command, err)
    for code in (block for language, block in BLOCKS if language == "python" and "run(" in block):
        answer = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert answer.stdout.startswith("completed 2.0")


def start(command: str, folder: Path) -> subprocess.Popen[str]:
    python = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        f"exec {command}",
        shell=True,
        cwd=folder,
        env=clean_environment() | {"PATH": python},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_ui(command: str, folder: Path) -> None:
    """The UI runs until Ctrl-C: wait for the address that it prints."""
    running = start(command, folder)
    assert running.stdout is not None
    try:
        line = next(line for line in running.stdout if "http://127.0.0.1" in line)
        assert line
    finally:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err


def write_example_files(folder: Path) -> None:
    """The example's two files, as the README shows them."""
    files = dict(re.findall(r"^# ([\w/]+\.(?:yaml|py)).*?\n(.*?)```", README, re.S | re.M))
    assert set(files) == {"mine/loss/absolute.yaml", "absolute.py"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
