"""Explains runs: checks, forecasts, pictures, reports and comparisons."""
