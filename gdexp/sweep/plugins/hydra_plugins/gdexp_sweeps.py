"""Hydra's plugins: ``hydra/launcher=vectorized`` and ``hydra/sweeper=grid``.

Hydra accepts launchers and sweepers from the namespace package ``hydra_plugins`` only, so these two
are here; the work is done in :mod:`gdexp.sweep`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn

if TYPE_CHECKING:
    from gdexp.config.job import Job
    from gdexp.sweep.progress import Tally


class VectorizedLauncher(BasicLauncher):
    """Computes runs that differ only in numbers as one program, other runs one after another.

    Args:
        engine: where the program runs; see :mod:`gdexp.sweep.workers.engines`.
        workers: the number of processes; None: one per core.
        address: the address of a running Ray cluster.
    """

    def __init__(
        self, engine: str = "local", workers: int | None = None, address: str | None = None
    ) -> None:
        super().__init__()
        self._chosen = (engine, workers, address)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs of another sweeper; see :class:`gdexp.sweep.launcher.Launch`."""
        assert self.config is not None
        assert self.hydra_context is not None
        if not getattr(self.task_function, "runs_a_gdexp_job", False):
            return super().launch(job_overrides, initial_job_idx)
        from gdexp.sweep.foreign import launch_overrides

        return launch_overrides(self, job_overrides, initial_job_idx)

    def launch_jobs(self, jobs: Sequence[Job], tally: Tally) -> Sequence[JobReturn]:
        """Run jobs, and report each one to the tally."""
        assert self.config is not None
        assert self.hydra_context is not None
        from gdexp.sweep.launcher import Launch
        from gdexp.sweep.workers import engines

        engine = engines.create(*self._chosen)
        loader = self.hydra_context.config_loader
        try:
            return Launch(self.config, loader, super().launch, engine, tally).run(jobs)
        finally:
            engine.close()


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper plus grids, resuming and a summary; other apps get the basic one."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job of the sweep; see :func:`gdexp.sweep.sweeper.sweep`."""
        assert self.config is not None
        if "sweep" not in self.config or "max_runs" not in self.config.sweep:
            return super().sweep(arguments)
        from gdexp.sweep.sweeper import sweep

        return sweep(self, arguments)
