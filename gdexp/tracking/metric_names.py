"""The names of features in metrics: readable, unique, and as MLflow allows them.

MLflow allows letters, digits and ``_ - . space :`` in a part of a metric's name. A feature's name
that consists of them stays as it is, and ``=`` becomes ``": "``, so that the category ``city=Oslo``
is ``city: Oslo``. In any other name each other character becomes ``_``, and a digest of the whole
name is appended: ``a[1]`` and ``a(1)`` stay different. A name depends on nothing but the feature's,
so all runs of a sweep agree.
"""

from __future__ import annotations

import hashlib
import re

LONGEST = 200  # characters of a feature's name; MLflow allows 250 in all
_PLAIN = re.compile(r"[\w\-. :=]+")
_OTHER = re.compile(r"[^\w\-. :]")
_AMBIGUOUS = re.compile(r": |:[0-9a-f]{8}$|^\.+$")  # what only a changed name may have


def metric_name(feature: str) -> str:
    """The name of a feature in a metric's name.

    >>> metric_name("body mass"), metric_name("city=Oslo"), metric_name("a[1]")
    ('body mass', 'city: Oslo', 'a_1_:419b31a5')
    """
    name = feature.replace("=", ": ")
    if _PLAIN.fullmatch(feature) and not _AMBIGUOUS.search(feature) and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(feature.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{_OTHER.sub('_', name)[: LONGEST - 9].strip('.') or '_'}:{digest}"


def curve_name(column: str) -> str:
    """The metric of a trajectory's column: ``param/w/<feature>`` with the feature's name changed.

    >>> curve_name("train/loss"), curve_name("param/w"), curve_name("grad/w/city=Oslo")
    ('train/loss', 'param/w', 'grad/w/city: Oslo')
    """
    group, _, name = column.partition("/")
    parameter, slash, feature = name.partition("/")
    if group not in ("param", "grad") or not slash:
        return column
    return f"{group}/{parameter}/{metric_name(feature)}"
