"""Data sources: each yields a Dataset of NumPy arrays."""

from __future__ import annotations

from gdexp.data.dataset import Dataset, points

__all__ = ["Dataset", "points"]
