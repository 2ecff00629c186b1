"""The README's map: its two commands make the same picture again."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKOUT
from sweep_helpers import gd

MAP = CHECKOUT / ".assets" / "map.png"
SWEEP = (
    "python -m gdexp -m step=manual,autograd sweep=log sweep.key=lr sweep.low=0.002 "
    "sweep.high=0.2 sweep.num=50 'iters=range(5,55,5)'"
)
PLOT = "python -m gdexp plot last --only map --out map.png"
HEADING = 0.14  # of the height: it names the sweep, whose id is new
ALIKE = 0.01  # by which the pictures may differ on average, if the fonts do


@pytest.mark.slow
def test_its_commands_make_it(store: Path) -> None:
    import matplotlib.image

    assert {SWEEP, PLOT} <= {*(CHECKOUT / "README.md").read_text().splitlines()}
    for command in (SWEEP, PLOT):
        ended = gd(*shlex.split(command)[3:])
        assert ended.code == 0, ended.err
    new, old = (matplotlib.image.imread(path)[..., :3] for path in (store / "map.png", MAP))
    assert new.shape == old.shape, f"make it again: {SWEEP} && {PLOT}"
    below = int(HEADING * len(new))
    difference = np.abs(new[below:] - old[below:]).mean()
    assert difference < ALIKE, f"make it again: {SWEEP} && {PLOT}"
