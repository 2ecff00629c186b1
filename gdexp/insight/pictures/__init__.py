"""Pictures of runs and sweeps, drawn with Matplotlib when someone looks."""
