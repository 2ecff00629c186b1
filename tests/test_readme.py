"""The README and the folders' pages: what they name exists, and their commands run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKOUT, PATIENCE, clean_environment, client
from sweep_helpers import gd
from ui_helpers import free_port

FOLDERS = (CHECKOUT / "conf", CHECKOUT / "gdexp")
PAGES = sorted(str(p.relative_to(CHECKOUT)) for f in FOLDERS for p in f.rglob("*.md"))
PAGES.insert(0, "README.md")
PATIENTS = "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6\n59,2,32.1,101,157,93.2,38,4,4.8598,87\n"


def read(page: str) -> str:
    return (CHECKOUT / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.S)


def commands(page: str) -> list[str]:
    """The lines of a page's bash blocks, without their comments."""
    lines = (line for block in blocks(page, "bash") for line in block.splitlines())
    return [line.split(" #")[0].strip() for line in lines]


def is_runnable(page: str) -> bool:
    return bool(commands(page)) or "from gdexp import run" in read(page)


def installs(command: str) -> bool:
    return command.startswith("python3 -m venv")


def test_the_readme_is_short_and_shows_pictures() -> None:
    assert len(read("README.md").splitlines()) <= 150
    pictures = re.findall(r"!\[.+\]\((.+)\)", read("README.md"))
    assert len(pictures) == 2
    for picture in pictures:
        assert (CHECKOUT / picture).stat().st_size > 10_000


def test_its_two_installing_lines_use_the_constraints_in_a_virtual_environment() -> None:
    run, test = filter(installs, commands("README.md"))
    for command in (run, test):
        assert ".venv/bin/pip install -c scripts/constraints.txt -e" in command
    assert run.endswith(".venv/bin/python -m gdexp step=autograd lr=0.05")
    assert test.endswith(".venv/bin/python -m pytest")
    gate = (CHECKOUT / ".ci" / "run").read_text()
    assert "grep -m1 'm pytest$' README.md" in gate


def test_the_readme_has_a_line_for_each_command() -> None:
    from gdexp.commands import COMMANDS

    shown = {words.split()[3] for words in commands("README.md") if words.startswith("python -m ")}
    assert COMMANDS.keys() <= shown


@pytest.mark.parametrize("page", PAGES)
def test_every_file_it_names_exists(page: str) -> None:
    here = (CHECKOUT / page).parent
    for link in re.findall(r"\]\(([^)]+)\)", read(page)):
        path, _, anchor = link.partition("#")
        target = here / path if path else CHECKOUT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(), re.M)
            assert anchor in {slug(heading) for heading in headings}, link
    for name in re.findall(r"`((?:conf|gdexp|scripts|tests)/[\w./]*)`", read(page)):
        assert (CHECKOUT / name).exists(), name
    for name in re.findall(r"`(test_\w+\.py)`", read(page)):
        assert [*(CHECKOUT / "tests").rglob(name)], name


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_page_is_linked_from_another() -> None:
    links = {
        ((CHECKOUT / page).parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)]+)\)", read(page))
    }
    assert {CHECKOUT / page for page in PAGES[1:]} <= links


def test_the_code_page_names_every_module() -> None:
    named = set(re.findall(r"`([\w/]+)`", read("gdexp/README.md")))
    modules = {p.stem for p in (CHECKOUT / "gdexp").glob("*.py") if not p.stem.startswith("_")}
    packages = {f"{p.parent.name}/" for p in (CHECKOUT / "gdexp").glob("*/__init__.py")}
    assert modules | packages <= named


def test_the_options_page_names_every_option() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", read("conf/README.md"), re.M))
    for folder in (p for p in (CHECKOUT / "conf").iterdir() if p.is_dir() and p.name != "hydra"):
        paths = folder.rglob("*.yaml") if folder.name == "experiment" else folder.glob("*.yaml")
        options = {path.relative_to(folder).with_suffix("").as_posix() for path in paths}
        assert set(rows[folder.name].split(", ")) == options


@pytest.mark.slow
@pytest.mark.parametrize("page", [*filter(is_runnable, PAGES)])
def test_every_command_of_the_page_runs(
    page: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first command, and that of Optuna, as typed; others in this process, sparing imports."""
    monkeypatch.syspath_prepend(workdir)
    write_example_files(page, workdir)
    done = [command for command in commands(page) if not installs(command)]
    for number, command in enumerate(done):
        typed = with_newest(command, workdir)
        if "gdexp ui" in command:
            check_ui(typed, workdir)
        elif number and typed.startswith("python -m gdexp ") and "optuna" not in typed:
            ended = gd(*shlex.split(typed, comments=True)[3:])
            assert ended.code == 0, (command, ended.err)
        else:
            _, err = (running := start(typed, workdir)).communicate(timeout=PATIENCE)
            assert running.returncode == 0, (command, err)
    for code in (block for block in blocks(page, "python") if "from gdexp import run" in block):
        answer = subprocess.run(
            [sys.executable, "-c", code], cwd=workdir, capture_output=True, text=True, check=True
        )
        assert answer.stdout.startswith("completed ")
        assert answer.stderr == ""
        done.append(code)
    assert done


def with_newest(command: str, folder: Path) -> str:
    """A command, with the id of the newest run for RUN_ID."""
    if "RUN_ID" not in command:
        return command
    (newest,) = client(folder).search_runs(
        ["1"], "tags.`gdexp.kind` = 'run'", order_by=["attributes.start_time DESC"], max_results=1
    )
    return command.replace("RUN_ID", newest.info.run_id)


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
    """The UI runs until Ctrl-C: wait for the address that it prints.

    Its port is not the default one, which a test beside this one may be testing.
    """
    running = start(f"{command} --port {free_port()}", folder)
    assert running.stdout is not None
    try:
        line = next(line for line in running.stdout if "http://127.0.0.1" in line)
        assert line
    finally:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err


def write_example_files(page: str, folder: Path) -> None:
    """The files that a page shows: a comment in its first lines, or the text above, names them."""
    (folder / "patients.csv").write_text(PATIENTS)
    text = read(page)
    named = re.findall(r"`(\w+\.csv)`[^`]*```csv\n(.*?)```", text, re.S)
    for block in [*blocks(page, "yaml"), *blocks(page, "python")]:
        if name := re.match(r"(?:# @package .*\n)?# ([\w/]+\.(?:yaml|py))", block):
            named.append((name[1], block))
    assert len(named) == len(blocks(page, "csv")) + len(blocks(page, "yaml")) + sum(
        "from gdexp import run" not in block for block in blocks(page, "python")
    )
    for name, content in named:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
