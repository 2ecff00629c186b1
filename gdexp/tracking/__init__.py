"""The record of a run in MLflow: the store, a run's life, and how both are worded."""

from gdexp.tracking.record import Record, open_record
from gdexp.tracking.store import Store, connect

__all__ = ["Record", "Store", "connect", "open_record"]
