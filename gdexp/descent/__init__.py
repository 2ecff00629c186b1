"""One run: the training loop, its trajectory, when it stops, and what came of it."""
