"""What is imported when: light starts, and arrows that point one way only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT, clean_environment

PACKAGE = CHECKOUT / "gdexp"
HEAVY = {"torch", "mlflow", "pandas", "pyarrow", "matplotlib", "sqlalchemy", "rich"}

# A module may import modules of a smaller number at its top level, and those of its own line.
LAYERS = {
    name: number
    for number, names in enumerate(
        [
            ["types", "errors", "__init__", "sweep.__init__", "tracking.__init__"],
            ["data.dataset", "data.columns"],
            ["data.prepare", "data.csv_file", "data.parquet_file"],
            ["data.compress", "data.files", "data.bundled", "data.__init__"],
            ["manual", "predictors", "fused", "descent", "settings", "trajectory"],
            ["interrupts", "paths"],
            ["schema", "stopping", "task"],
            ["pytorch.tensors", "pytorch.models", "pytorch.gradients", "pytorch.optimizers"],
            ["pytorch.schedulers"],
            ["pytorch.__init__"],
            ["transcript", "progress", "compose", "job"],
            ["sweep.batch", "sweep.batch_numpy", "sweep.batch_torch", "tracking.curves"],
            ["sweep.grids.axis", "sweep.grids.settings", "sweep.grids.summary"],
            ["components", "sweep.grids.values", "sweep.grids.__init__", "sweep.plan"],
            ["preparation"],
            ["building"],
            ["checkpoint", "evaluation"],
            ["fitted"],
            ["overrides", "help", "tracking.store", "tracking.wording", "tracking.finished"],
            ["tracking.reading"],
            ["tracking.served"],
            ["tracking.model"],
            ["tracking.record", "tracking.rows", "tracking.bulk", "tracking.writing"],
            ["experiment"],
            ["report", "runs", "compare", "ui", "predict"],
            ["sweep.engines", "sweep.pools"],
            ["sweep.vectorize", "sweep.recording", "sweep.ledger", "sweep.tally", "sweep.summary"],
            ["sweep.launch", "sweep.sweeping", "plugins.hydra_plugins.gdexp_sweeps"],
            ["cli"],
            ["__main__"],
        ]
    )
    for name in names
}


def loaded_by(code: str, cwd: Path) -> set[str]:
    program = (
        f"import sys\nsys.argv[0] = 'gdexp'\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        "print('\\n' + '\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment(),
    )
    assert "gdexp" in done.stderr, done.stderr
    return {name.split(".")[0] for name in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "code",
    [
        "import gdexp",
        "from gdexp import manual, descent",
        "import gdexp.cli; sys.argv[1:] = ['--help']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['--cfg', 'job']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['step=model', '--cfg', 'job']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['lr=-1']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['step=autogradd']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['step=model', 'updater.lr=x']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['step=model', '++updater.x=1']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['tracking.uri=nowhere']; gdexp.cli.main()",
        "import gdexp.cli; sys.argv[1:] = ['step=manual', 'tracking=off']; gdexp.cli.main()",
        "import gdexp; gdexp.run('step=manual', 'tracking=off')",
        "import gdexp.compare, gdexp.predict, gdexp.ui",
    ],
)
def test_light_starts_import_nothing_heavy(code: str, tmp_path: Path) -> None:
    assert loaded_by(code, tmp_path) & HEAVY == set()


def test_the_check_for_light_starts_would_see_torch(tmp_path: Path) -> None:
    assert "torch" in loaded_by("import gdexp.pytorch", tmp_path)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def imports_at_top_level(path: Path) -> set[str]:
    """The modules of ours that importing this one imports."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    ours = {name.removeprefix("gdexp.") for name in found if name.startswith("gdexp.")}
    return {name for name in ours if name in LAYERS}


@pytest.mark.parametrize(
    "path", sorted(p for p in PACKAGE.rglob("*.py")), ids=lambda p: module_name(p)
)
def test_imports_point_one_way(path: Path) -> None:
    name = module_name(path)
    assert name in LAYERS, f"say in LAYERS where {name} stands"
    above = {other for other in imports_at_top_level(path) if LAYERS[other] > LAYERS[name]}
    assert not above, f"{name} imports {above}, which stand above it"


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
