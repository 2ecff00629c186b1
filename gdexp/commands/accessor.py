"""``table.gdexp``: what the table of a sweep can do beyond a pandas data frame."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from gdexp.errors import ConfigError
from gdexp.insight.repetitions import COUNTS, check_over, distinguishing, summarise

if TYPE_CHECKING:
    import pandas as pd

WHERE = "table.gdexp.over"


@functools.cache
def register() -> None:
    """Add the accessor to pandas' data frames, once."""
    import pandas as pd

    pd.api.extensions.register_dataframe_accessor("gdexp")(Accessor)


class Accessor:
    """The accessor of a table that :func:`gdexp.sweep` returned, or of some of its rows."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def over(self, *keys: str) -> pd.DataFrame:
        """Mean and standard deviation over settings, as ``compare --over`` gives them.

        Args:
            keys: the settings, such as ``"seed"``.

        Returns:
            A row for each group of runs that differ only in these settings: the settings that tell
            the groups apart; ``n``, the number of runs that completed or converged; ``diverged``
            and ``unfinished``, how many are left out; for each metric the ``.mean`` and ``.std``
            (n - 1; NaN for a single run) of those n, and ``.missing`` if some of them lack it.

        Raises:
            ConfigError: the table has no such setting, or it is the same in all rows.
        """
        import pandas as pd

        table = self._table
        if "outcome" not in table:
            raise ConfigError(f"{WHERE}: the table needs its column 'outcome'.")
        rows = table.drop(columns="result", errors="ignore").to_dict("records")
        named = [{str(key): value for key, value in row.items()} for row in rows]
        check_over(named, keys, where=WHERE)
        groups = summarise(named, over=keys)
        results = [name for name in groups[0] if "/" in name]
        kept = [n for n in results if not n.endswith(".missing") or any(g[n] for g in groups)]
        columns = [*distinguishing(groups), *COUNTS, *kept]
        lines = [{name: _number(name, group.get(name)) for name in columns} for group in groups]
        made = pd.DataFrame.from_records(lines, columns=columns)
        made.attrs = dict(table.attrs)
        return made


def _number(name: str, value: object) -> object:
    """A missing mean or deviation is NaN, so that its column holds floats."""
    return math.nan if value is None and "/" in name else value
