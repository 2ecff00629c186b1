"""Lines through a few points, as in the tutorial: one array element per run."""
