"""Diagnoses of a run: gradient and bias checks, curvature, stability, convergence."""
