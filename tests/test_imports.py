"""What is imported when: light starts, and arrows that point one way only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import CHECKOUT, clean_environment

PACKAGE = CHECKOUT / "gdexp"
HEAVY = {"torch", "mlflow", "pandas", "pyarrow", "matplotlib", "sqlalchemy", "rich", "scipy"}


def loaded_by(programs: list[str], cwd: Path) -> list[set[str]]:
    """What is loaded after each of these programs, which run one after another in a process."""
    program = "import sys\nsys.argv[0] = 'gdexp'\n" + "".join(
        f"try:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('\\nloaded: ' + ' '.join(sys.modules), file=sys.stderr)\n"
        for code in programs
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment(),
    )
    lines = [line.split() for line in done.stderr.splitlines() if line.startswith("loaded: ")]
    assert len(lines) == len(programs), done.stderr
    assert "gdexp" in lines[0]
    return [{name.split(".")[0] for name in names[1:]} for names in lines]


MAIN = "from gdexp.commands import main; sys.argv[1:] = {}; main()"


@pytest.mark.parametrize(
    "programs",
    [
        [
            "import gdexp",
            "from gdexp import manual, descent",
            "import gdexp.pytorch.capabilities",
            "import gdexp.commands.compare, gdexp.commands.predict, gdexp.commands.ui",
        ],
        [
            MAIN.format(["--help"]),
            MAIN.format(["--cfg", "job"]),
            MAIN.format(["step=model", "--cfg", "job"]),
            MAIN.format(["lr=-1"]),
            MAIN.format(["step=autogradd"]),
            MAIN.format(["step=model", "updater.lr=x"]),
            MAIN.format(["step=model", "++updater.x=1"]),
            MAIN.format(["tracking.uri=nowhere"]),
            MAIN.format(["step=manual", "tracking=off"]),
        ],
        ["import gdexp; gdexp.run('step=manual', 'tracking=off')"],
    ],
    ids=["imports", "commands", "run"],
)
def test_light_starts_import_nothing_heavy(programs: list[str], tmp_path: Path) -> None:
    for program, loaded in zip(programs, loaded_by(programs, tmp_path), strict=True):
        assert loaded & HEAVY == set(), program


def test_the_check_for_light_starts_would_see_torch(tmp_path: Path) -> None:
    (loaded,) = loaded_by(["from gdexp.pytorch import Linear"], tmp_path)
    assert "torch" in loaded


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def test_no_file_outgrows_one_idea() -> None:
    lengths = {module_name(p): len(p.read_text().splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 260} == {}


def test_nothing_is_visible_at_the_top_level_but_the_agreed_entries() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.split()
    visible = {name.split("/")[0] for name in tracked if not name.startswith(".")}
    assert visible <= {
        "conf",
        "gdexp",
        "scripts",
        "tests",
        "outputs",
        "pyproject.toml",
        "README.md",
    }
