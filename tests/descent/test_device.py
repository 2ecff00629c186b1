"""Where tensors are: a device that is not there is refused, one that is gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import CLI

from gdexp import pytorch, run

CUDA = torch.cuda.is_available()
MADE = ("data=synthetic", "data.rows=80", "data.features=3", "predictor.bias=true", "lr=0.1")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_run_by_hand_is_on_the_cpu(device: str, workdir: Path, cli: CLI) -> None:
    ended = cli(f"device={device}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"gdexp: device={device}: all four choices are by hand, in NumPy, which computes on the "
        "CPU. Type for example step=autograd.\n"
    )
    assert not any(workdir.iterdir())


@pytest.mark.skipif(CUDA, reason="there is one")
def test_a_device_that_is_not_there(workdir: Path, cli: CLI) -> None:
    ended = cli("device=cuda", "step=model")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"gdexp: device=cuda: torch {torch.__version__} finds no such device here. "
        "Type device=cpu, or device=auto for the fastest available.\n"
    )
    assert not any(workdir.iterdir())


def test_a_device_that_is_none(workdir: Path, cli: CLI) -> None:
    assert cli("device=gpu").err == (
        "gdexp: device: 'gpu' is not one of cpu, auto, cuda, mps. Did you mean device=cuda?\n"
    )


def test_auto_is_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((1, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=cuda: bool(found))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda found=mps: bool(found))
        assert pytorch.device_of("auto") == expected


@pytest.mark.skipif(CUDA, reason="auto is not the CPU")
@pytest.mark.parametrize("step", ["manual", "model"])
def test_auto_without_one_is_the_cpu_bit_for_bit(step: str) -> None:
    auto, cpu = (
        run(f"step={step}", "tracking=off", *MADE, f"device={d}", "lr=0.001")
        for d in ("auto", "cpu")
    )
    np.testing.assert_array_equal(auto.trajectory.table, cpu.trajectory.table)
