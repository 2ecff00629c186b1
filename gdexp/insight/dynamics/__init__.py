"""How a run descends: the curvature, the forecast from it, and what came of it."""
