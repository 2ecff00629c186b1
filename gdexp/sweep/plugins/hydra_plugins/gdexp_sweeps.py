"""What Hydra finds by name: ``hydra/launcher=vectorized`` and ``hydra/sweeper=grid``.

Hydra takes launchers and sweepers from the namespace package ``hydra_plugins`` alone, so these two
stand here; gdexp.sweep has what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.utils import JobReturn


class VectorizedLauncher(BasicLauncher):
    """Computes runs that differ only in numbers as one program; else Hydra's basic launcher.

    Args:
        engine: where the program runs; see :mod:`gdexp.sweep.workers.engines`.
        workers: how many processes; None: one on each core.
        address: of a running Ray cluster.
    """

    def __init__(
        self, engine: str = "local", workers: int | None = None, address: str | None = None
    ) -> None:
        super().__init__()
        self._chosen = (engine, workers, address)
        self._engine: Any = None
        self.tally: Any = None  # the sweeper's, if it is ours; it then closes the launcher

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run the jobs; see :class:`gdexp.sweep.launcher.Launch`."""
        assert self.config is not None
        assert self.hydra_context is not None
        if not getattr(self.task_function, "runs_a_gdexp_job", False):
            return super().launch(job_overrides, initial_job_idx)
        from gdexp.sweep.launcher import Launch
        from gdexp.sweep.workers import engines

        self._engine = self._engine or engines.create(*self._chosen)
        try:
            return Launch(self, super().launch, self._engine).run(job_overrides, initial_job_idx)
        finally:
            if self.tally is None:
                self.close()

    def close(self) -> None:
        """End the processes that the engine has started."""
        if self._engine is not None:
            self._engine.close()


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper with grids, resuming and a summary; other apps get the basic one."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job of the sweep; see :func:`gdexp.sweep.sweeper.sweep`."""
        assert self.config is not None
        if "sweep" not in self.config or "max_runs" not in self.config.sweep:
            return super().sweep(arguments)
        from gdexp.sweep.sweeper import sweep

        return sweep(self, arguments)
