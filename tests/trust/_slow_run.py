"""The command line of a run that lasts: each epoch takes a moment, and it is written often.

``python _slow_run.py SECONDS WORDS...``; the seconds are those of an epoch. When it has ended, the
last line on stdout says for how many seconds its longest epoch waited.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from gdexp.commands import main
from gdexp.descent.build import Components
from gdexp.tracking import recorder

recorder.LASTING, recorder.EVERY = 0.0, 0.2
seconds = float(sys.argv.pop(1))
iterations = Components.iterations
longest = 0.0


def slowly(self: Components, *args: Any) -> Iterator[Any]:
    global longest
    last = time.monotonic()
    for iteration in iterations(self, *args):
        time.sleep(seconds)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        yield iteration


Components.iterations = slowly  # type: ignore[method-assign]
sys.argv[0] = "gdexp"
try:
    main()
finally:
    print(longest)
