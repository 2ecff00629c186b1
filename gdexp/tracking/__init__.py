"""The record of a run in MLflow: the store, a run's life, and how both are worded."""
