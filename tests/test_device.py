"""Where tensors are: a device that is not there is refused, one that is gives the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ended

from gdexp import pytorch, run
from gdexp.experiment import Result

CLI = Callable[..., Ended]

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
        "Type device=cpu, or device=auto for the fastest there is.\n"
    )
    assert not any(workdir.iterdir())


def test_a_device_that_is_none(workdir: Path, cli: CLI) -> None:
    assert cli("device=gpu").err == (
        "gdexp: device: 'gpu' is not one of cpu, auto, cuda, mps. Type for example device=cpu.\n"
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


VARIANTS = {
    "linear": (),
    "minibatches": ("data.batch_size=16",),
    "validation": ("data.validation=0.2", "stop.patience=100", "stop.every=5"),
    "compressed": ("data.compress=true",),
    "scheduled": ("scheduler=StepLR", "updater=Adam"),
    "lbfgs": ("updater=LBFGS",),
    "by hand": ("updater=manual_momentum", "gradient=manual"),
    "network": ("predictor=mlp",),
}


@pytest.mark.skipif(not CUDA, reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
def test_a_gpu_gives_the_numbers_of_the_cpu(
    variant: tuple[str, ...], dtype: str, workdir: Path
) -> None:
    tolerance = 2e-4 if dtype == "float32" else 1e-9

    def on(device: str, *more: str) -> Result:
        how = ("step=model", "tracking=off", *MADE, f"dtype={dtype}", "iters=30", *variant, *more)
        return run(*how, f"device={device}")

    cpu, gpu = on("cpu"), on("cuda", "checkpoint.every=10")
    scale = np.abs(cpu.trajectory.table).max()
    np.testing.assert_allclose(gpu.trajectory.table, cpu.trajectory.table, atol=tolerance * scale)
    assert gpu.coefficients == pytest.approx(cpu.coefficients, rel=tolerance, abs=tolerance)
    (folder,) = Path("outputs/checkpoints").iterdir()
    on_again = on("cuda", f"continue_from={folder}/00000010.npz")
    np.testing.assert_allclose(
        on_again.trajectory.table, gpu.trajectory.table, atol=tolerance * scale
    )
