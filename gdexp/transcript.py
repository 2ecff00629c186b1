"""The transcript: a run in the tutorial's own lines, on stdout and as an artifact."""

from __future__ import annotations

from typing import TextIO

from gdexp.trajectory import Trajectory


class Transcript:
    """Lines in the tutorial's format, kept as text and written to a stream as they come.

    Args:
        predict_at: the x of the printed f(x).
        iters: the number of epochs the run may have.
        every: epochs from one line to the next; None: about twenty lines in all.
        stream: where the lines go as well; None: nowhere.
    """

    def __init__(
        self, predict_at: float, iters: int, every: int | None, stream: TextIO | None
    ) -> None:
        self.every = every or -(-iters // 20)
        self._at = predict_at
        self._lines: list[str] = []
        self._next = 1
        self._stream = stream

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(self._lines)

    def prediction(self, when: str, value: float) -> None:
        """`` Prediction before training: f(5) = 0.000``."""
        self._write(f" Prediction {when} training: f({self._at:g}) = {value:.3f}")

    def epochs(self, trajectory: Trajectory) -> None:
        """The lines that are due among the epochs recorded since the last call."""
        for epoch in range(self._next, trajectory.length + 1, self.every):
            self._write(_line(epoch, trajectory))
            self._next = epoch + self.every

    def _write(self, line: str) -> None:
        self._lines.append(line + "\n")
        if self._stream is not None:
            try:
                print(line, file=self._stream, flush=True)
            except BrokenPipeError:  # the reader has seen enough (`| head`); the run goes on
                self._stream = None


def _line(epoch: int, trajectory: Trajectory) -> str:
    row = epoch - 1
    parameters = ", ".join(f"{n} = {v[row]:.3f}" for n, v in trajectory.parameters.items())
    slopes = [f"{values[row]:.3f}" for values in trajectory.gradients.values()]
    gradient = slopes[0] if len(slopes) == 1 else f"({', '.join(slopes)})"
    return f"epoch {epoch}: {parameters}, loss = {trajectory.loss[row]:.8f}, gradient = {gradient}"
