"""Recording runs in MLflow stores, and reading them back."""
