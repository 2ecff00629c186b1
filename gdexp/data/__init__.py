"""Data sources: each yields a Dataset of NumPy arrays, or a Source that reads one from a file."""

from __future__ import annotations

from gdexp.data.bundled import diabetes, synthetic
from gdexp.data.dataset import Dataset, points
from gdexp.data.files import Source, csv, parquet

__all__ = ["Dataset", "Source", "csv", "diabetes", "parquet", "points", "synthetic"]
