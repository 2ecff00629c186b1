"""Diagnoses of a run: the gradient check."""
