"""Data sources: functions that return a Dataset in memory, or a Source that reads one."""

from __future__ import annotations

from gdexp.data.bundled import diabetes, synthetic
from gdexp.data.dataset import Dataset, points
from gdexp.data.files import Source, csv, parquet

__all__ = ["Dataset", "Source", "csv", "diabetes", "parquet", "points", "synthetic"]
