"""The tutorial's sweep without gdexp: Hydra's multirun, and one log_batch per run.

``python bench_sweep_app.py -m step=manual uri=sqlite:///... lr=0.01,0.02 iters=10,20``
"""

from __future__ import annotations

from dataclasses import dataclass

import hydra
from bench_baselines import tutorial
from bench_plain_tutorial import by_hand, record
from hydra.core.config_store import ConfigStore


@dataclass
class Config:
    """The settings of a run."""

    uri: str
    step: str = "manual"
    lr: float = 0.01
    iters: int = 10


ConfigStore.instance().store("config", Config)


@hydra.main(config_path=None, config_name="config", version_base=None)
def main(cfg: Config) -> None:
    """Run and record one job."""
    from mlflow import MlflowClient

    train = {"manual": by_hand, "autograd": tutorial}[cfg.step]
    record(MlflowClient(cfg.uri), dict(cfg), train(cfg.iters, cfg.lr))


if __name__ == "__main__":
    main()
