"""One run: the training loop, its trajectory, its stop rules and its result."""
