"""The transcript: a run in the tutorial's format, on stdout and as an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from gdexp.descent.numbers import short
from gdexp.descent.stopping import VALIDATION, gradient_norm
from gdexp.descent.trajectory import Trajectory

FEW = 4  # up to this many parameters are printed one by one
LARGE = 1e6  # numbers from here on are printed as in 3.59e31, unless print_every is set


class Transcript:
    """Lines in the tutorial's format, collected and written to a stream one by one.

    Args:
        predict_at: the x of the printed f(x); None for the features' means.
        iters: the run's maximum number of epochs.
        every: print every N epochs, exactly as the tutorial's loop does; None for about twenty
            lines in all and the last epoch, with large numbers shortened.
        stream: also receives the lines, if given.

    Attributes:
        at: the x of the printed f(x), as printed.
    """

    def __init__(
        self, predict_at: float | None, iters: int, every: int | None, stream: TextIO | None
    ) -> None:
        self.every = every or -(-iters // 20)
        self._is_default = every is None
        self.at = "mean" if predict_at is None else f"{predict_at:g}"
        self._lines: list[str] = []
        self._next = 1
        self._stream = stream

    @property
    def text(self) -> str:
        """All lines so far."""
        return "".join(self._lines)

    def prediction(self, when: str, value: float) -> None:
        """`` Prediction before training: f(5) = 0.000``."""
        self._write(f" Prediction {when} training: f({self.at}) = {self._number(value, 3)}")

    def epochs(self, trajectory: Trajectory) -> None:
        """Write the lines due for the epochs recorded since the last call."""
        due = range(self._next, trajectory.length + 1, self.every)
        for epoch, line in zip(due, self._described(due, trajectory), strict=True):
            self._write(line)
            self._next = epoch + self.every

    def end(self, trajectory: Trajectory, prediction: float) -> None:
        """Write the remaining epochs, the last one included by default, and the prediction."""
        self.epochs(trajectory)
        last, written = trajectory.length, self._next - self.every
        if self._is_default and last > max(0, written):
            self._write(*self._described([last], trajectory))
        self.prediction("after", prediction)

    def _write(self, line: str) -> None:
        self._lines.append(line + "\n")
        if self._stream is not None:
            try:
                print(line, file=self._stream, flush=True)
            except BrokenPipeError:  # the reader has left, as `| head` does; the run goes on
                self._stream = None

    def _described(self, epochs: Sequence[int], trajectory: Trajectory) -> Iterator[str]:
        """The line of each of these epochs."""
        if not epochs:
            return
        number, loss = self._number, trajectory.loss
        parameters, slopes = trajectory.parameters.items(), [*trajectory.gradients.values()]
        validation = trajectory.measured.get(VALIDATION)
        for epoch in epochs:
            row = epoch - 1
            words = [f"loss = {number(loss[row], 8)}"]
            if len(slopes) <= FEW:
                gradients = [number(values[row], 3) for values in slopes]
                gradient = gradients[0] if len(slopes) == 1 else f"({', '.join(gradients)})"
                named = [f"{name} = {number(values[row], 3)}" for name, values in parameters]
                words = [*named, *words, f"gradient = {gradient}"]
            else:
                words.append(f"gradient norm = {short(gradient_norm(trajectory, row))}")
            if validation is not None:
                words.append(f"validation = {number(validation[row], 8)}")
            yield f"epoch {epoch}: {', '.join(words)}"

    def _number(self, value: float, decimals: int) -> str:
        is_short = self._is_default and abs(value) >= LARGE
        return short(value) if is_short else f"{value:.{decimals}f}"
