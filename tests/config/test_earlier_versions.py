"""A new setting at its default leaves the hash and the params of a run as they were."""

from __future__ import annotations

import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import CONF

from gdexp.config import settings
from gdexp.config.compose import Composer, session
from gdexp.config.job import Job
from gdexp.tracking.describe import params

LEGACY = Path(__file__).parent.parent / "data" / "legacy.zip"  # see tracking/test_legacy.py
HASHES = {  # before any setting of settings.LATER
    "data=csv data.path=t.csv data.target=y": "ea4975884ea73bce",
    "data=parquet data.path=t.parquet data.target=y data.features=[a,b]": "5b9434e17ab12ea4",
    "data=synthetic step=model predictor=mlp": "0be15f90521dbf3f",
    "data=diabetes data.validation=0.2 stop.patience=5 loss=HuberLoss": "63755c3674413457",
    "step=optimizer scheduler=MultiStepLR updater=LBFGS": "46a0798a9e99b27d",
    "scheduler=ReduceLROnPlateau updater=manual_momentum dtype=float64": "18b47f833dad6b29",
}


def job(*overrides: str) -> Job:
    with session():
        return Job.of(Composer().compose(overrides), overrides)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, str]]]:
    """The tags and the params of the runs that version 0.1.0 has recorded."""
    folder = tmp_path_factory.mktemp("legacy")
    with zipfile.ZipFile(LEGACY) as packed:
        packed.extract("outputs/mlflow.db", folder)
    runs: dict[str, dict[str, dict[str, str]]] = {}
    connection = sqlite3.connect(folder / "outputs" / "mlflow.db")
    for table in ("tags", "params"):
        for run_id, key, value in connection.execute(f"SELECT run_uuid, key, value FROM {table}"):
            runs.setdefault(run_id, {"tags": {}, "params": {}})[table][key] = value
    connection.close()
    return [run for run in runs.values() if run["tags"]["gdexp.kind"] == "run"]


def test_the_runs_of_version_0_1_have_their_hashes_and_params(recorded: Any) -> None:
    assert len(recorded) == 16
    with session():
        for run in recorded:
            overrides = run["tags"]["gdexp.overrides"].split()
            now = Job.of(Composer().compose(overrides), overrides)
            assert now.config_hash == run["tags"]["gdexp.config_hash"], overrides
            assert params(now) == run["params"], overrides


@pytest.mark.parametrize(("overrides", "expected"), HASHES.items())
def test_a_hash_stays_what_it_was(overrides: str, expected: str) -> None:
    assert job(*overrides.split()).config_hash == expected


def test_a_later_setting_counts_where_it_differs_from_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    former = job("data=diabetes")
    monkeypatch.setitem(settings.LATER, "data.colour", "red")
    monkeypatch.setitem(settings.LATER, "shade", 0.5)

    def with_later(colour: str, shade: float) -> Job:
        data = {**former.settings["data"], "colour": colour}
        return Job({**former.settings, "data": data, "shade": shade}, former.choices)

    assert with_later("red", 0.5).config_hash == former.config_hash
    others = [with_later(*pair) for pair in (("blue", 0.5), ("red", 0.6), ("blue", 0.6))]
    assert len({former.config_hash, *(other.config_hash for other in others)}) == 4


def test_later_settings_have_the_defaults_that_they_are_listed_with() -> None:
    for key, default in settings.LATER.items():
        group, _, name = key.rpartition(".")
        if key in settings.HINTS:
            owner = settings.SECTIONS[group] if group else settings.Settings
            assert getattr(owner(), name) == default, key
            continue
        nodes = [yaml.safe_load(path.read_text()) for path in CONF.glob(f"{group}/*.yaml")]
        assert {str(node[name]) for node in nodes if name in node} == {str(default)}, key
