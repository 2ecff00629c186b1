"""One epoch of a run as lines of text: its data, its four steps in numbers, their lines of code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdexp.config.capabilities import task_of
from gdexp.config.job import Job
from gdexp.descent.numbers import short
from gdexp.errors import counted
from gdexp.insight.explanation.epoch import OURS, Explanation, Step, namespace
from gdexp.insight.explanation.formulas import NUMPY, REMEMBERED
from gdexp.insight.explanation.watched import Watched

ALL, HEAD = 10, 5  # rows: so few are all shown, of more the first
WIDE = 6  # features and outputs that have a column
LISTED = 12  # parameters that have a row
NAMES = {"predictor": "prediction", "loss": "loss", "gradient": "gradient", "updater": "update"}
WITHIN = "with torch.no_grad():"
LABEL = 26  # "NumPy, autograd, optimizer"


@dataclass(frozen=True)
class Page:
    """The page of an explained epoch.

    Attributes:
        job: the run.
        built: its components.
        explained: the epoch's last update.
        digits: significant digits of numbers.
    """

    job: Job
    built: Watched
    explained: Explanation
    digits: int = 6

    def lines(self, later: str) -> Iterator[str]:
        """The lines, without the title.

        Args:
            later: what became of the loss, in words.
        """
        yield self._data()
        prediction, loss, gradient, update = self.explained.steps
        parameters = self.explained.update.before
        yield from self._step(prediction, self._inline(parameters))
        yield ""
        yield from _table(self._rows())
        yield from self._step(loss, f": {self._short(self.explained.update.loss)}{later}")
        yield from self._step(gradient, self._inline(gradient.values))
        if check := self._check():
            yield f"  {check}"
        scheduler = self.job.choices["scheduler"]
        by = "" if scheduler == "none" else f", as scheduler={scheduler} has set it"
        yield from self._step(update, self._inline(self.explained.numbers) + by)
        numbers = [*self._substituted(update)]
        yield from numbers or ["", *_table(self._parameters())]

    def _short(self, value: Any) -> str:
        value = np.asarray(value, np.float64)
        return short(float(value.reshape(())), self.digits) if value.size == 1 else "…"

    def _data(self) -> str:
        update, data, rows = self.explained.update, self.built.data, len(self.explained.update.y)
        words = [f"data={self.job.choices['data']}", counted(data.rows, "row")]
        if data.kept is not None:
            words.append(f"{len(data.kept.y)} of them held out for validation")
        if data.compressed:
            words.append(f"replaced by {counted(len(data.fitted.y), 'row')} with the same loss")
        if data.scaling is not None:
            words.append("features standardized: (x - mean) / scale")
        if data.target_scaling is not None:
            words.append("target standardized: (y - mean) / scale")
        if self.built.batch_size:
            words.append(f"minibatch {update.number} of {update.number}, {counted(rows, 'row')}")
        return ", ".join([*words, self.job.settings["dtype"]])

    def _inline(self, values: dict[str, Any]) -> str:
        """``: dw = -30, db = 1``, if each value is one number."""
        if not 0 < len(values) <= 5 or any(np.size(value) != 1 for value in values.values()):
            return ""
        return ": " + ", ".join(f"{name} = {self._short(v)}" for name, v in values.items())

    def _step(self, step: Step, values: str) -> Iterator[str]:
        option = self.job.choices[step.family]
        yield f"\n{NAMES[step.family]} ({step.family}={option}){values}"
        for line in step.lines:
            first, *others = line.code.split("\n")
            if others and first == WITHIN:  # the statements have just been listed
                first, others = f"{WITHIN}  # the same", []
            yield f"  {', '.join(line.ways):{LABEL}}  {first}"
            setup = [f"with {line.setup}"] if line.setup else []
            yield from (f"  {'':{LABEL}}  {text}" for text in [*others, *setup])
        target = str(self.job.settings[step.family]["_target_"])
        if not (step.lines and target.startswith(OURS)):
            yield f"  {self.job.choices[step.family]:{LABEL}}  {target}"

    def _rows(self) -> list[list[str]]:
        """The table of the rows: inputs, targets, predictions, residuals."""
        update, data = self.explained.update, self.built.data
        table, rows = data.fitted, len(update.y)
        x = np.reshape(update.x, (rows, -1))
        outputs = np.reshape(update.y_pred, (rows, -1))
        columns = list(zip(_names(table.features, "x"), x.T, strict=True))
        more = columns[WIDE:]
        columns = [*columns[:WIDE], *([("…", np.full(rows, np.nan))] if more else [])]
        place = len(columns)
        columns.append(("y" if table.target == "y" else f"y ({table.target})", update.y))
        names = ["y_pred"] if outputs.shape[1] == 1 else [f"y_pred/{i}" for i in range(WIDE)]
        columns += list(zip(names, outputs.T, strict=False))
        columns += self._residuals()
        shown = rows if rows <= ALL else HEAD
        lines = [["row", *(name for name, _ in columns)]]
        for row in range(shown):
            cells = ("…" if name == "…" else self._short(v[row]) for name, v in columns)
            lines.append([str(row + 1), *cells])
        if rows > shown:
            lines.append(["…", f"({counted(rows, 'row')})"])
        return lines + self._scales(place, len(more))

    def _scales(self, place: int, more: int) -> list[list[str]]:
        """The rows ``mean`` and ``scale`` of what is standardized."""
        data = self.built.data
        if data.scaling is None and data.target_scaling is None:
            return []
        lines = []
        for name in ("mean", "scale"):
            cells = [""] * place
            if data.scaling is not None:
                cells = [self._short(value) for value in getattr(data.scaling, name)[:WIDE]]
                cells += ["…"] * bool(more)
            if data.target_scaling is not None:
                cells.append(self._short(getattr(data.target_scaling, name)))
            lines.append([name, *cells])
        return lines

    def _residuals(self) -> list[tuple[str, Any]]:
        update, task = self.explained.update, task_of(self.job.settings)
        if np.ndim(update.y_pred) > 1 or task == "classes":
            return []
        with np.errstate(all="ignore"):
            if task == "binary":
                p = 1 / (1 + np.exp(-update.y_pred))
                return [("p", p), ("p - y", p - update.y)]
            return [("y_pred - y", update.y_pred - update.y)]

    def _check(self) -> str:
        """How the gradient compares with the derivative of the loss."""
        derivatives, check = self.explained.derivatives or {}, self.explained.check
        shown = self._inline({f"d{name}": value for name, value in derivatives.items()})
        return f"check: {check}{shown}" if check else ""

    def _substituted(self, step: Step) -> Iterator[str]:
        """The lines of the update with numbers in place of names, if all are single numbers."""
        update = self.explained.update
        code = [line.code for line in step.lines if NUMPY in line.ways]
        if not code or any(np.size(value) != 1 for value in update.before.values()):
            return
        names = namespace(update, self.explained.numbers)
        yield ""
        for statement in code[0].split("\n"):
            name, sign, expression = re.fullmatch(r"(\w+) (-?)= (.+)", statement).groups()  # type: ignore[union-attr]
            text = re.sub(r"[a-z]\w*(\*\*)?", lambda m: self._number(m, names), expression)
            start = f"{self._short(names[name])} - " if sign else ""
            with np.errstate(all="ignore"):
                exec(statement, names)
            yield f"  {name} = {start}{text} = {self._short(names[name])}"

    def _number(self, match: re.Match[str], names: dict[str, Any]) -> str:
        """The number of a name; a negative one that is squared is in parentheses."""
        power = match[1] or ""
        number = self._short(names[match[0].removesuffix(power)])
        return f"({number}){power}" if power and number.startswith("-") else f"{number}{power}"

    def _parameters(self) -> list[list[str]]:
        """The table of the parameters: before, gradient, what is remembered, after."""
        explained, update = self.explained, self.explained.update
        columns = {"before": update.before, "gradient": update.gradients}
        if explained.derivatives is not None:
            columns["derivative"] = explained.derivatives
        columns |= {REMEMBERED.get(key, key): v for key, v in update.remembered.items()}
        columns["after"] = update.after
        flat = {
            head: np.concatenate([np.ravel(np.asarray(v[name])) for name in update.before])
            for head, v in columns.items()
            if v.keys() >= update.before.keys()
        }
        rows = [["parameter", *flat]]
        names = [name for key, value in update.before.items() for name in self._each(key, value)]
        rows += [
            [name, *(self._short(values[i]) for values in flat.values())]
            for i, name in enumerate(names[:LISTED])
        ]
        if len(names) > LISTED:
            rows.append(["…", f"({len(names)} numbers)"])
        if len(names) == 1:
            return rows
        norms = [self._short(np.linalg.norm(values)) for values in flat.values()]
        return [*rows, ["norm", *norms]]

    def _each(self, name: str, value: Any) -> list[str]:
        """The names of a parameter's numbers: ``w/age``, or ``0.weight/0``."""
        size, features = np.size(value), self.built.data.fitted.features
        if size == 1:
            return [name]
        suffixes: Sequence[Any] = features if name == "w" and len(features) == size else range(size)
        return [f"{name}/{suffix}" for suffix in suffixes]


def _names(features: Sequence[str], single: str) -> list[str]:
    """The heads of the features' columns; of a single one, with the name that the lines use."""
    if len(features) > 1:
        return list(features)
    return [single if features[0] == single else f"{single} ({features[0]})"]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows as lines, with columns aligned at the right."""
    whole = [row for row in rows if len(row) == len(rows[0]) or row[0] in ("mean", "scale")]
    widths = [0] * len(rows[0])
    for row in whole:
        for i, cell in enumerate(row):
            widths[i] = max(widths[i], len(cell))
    for row in rows:
        yield "  " + "  ".join(f"{c:>{w}}" for c, w in zip(row, widths, strict=False)).rstrip()
