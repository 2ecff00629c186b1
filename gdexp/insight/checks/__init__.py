"""Checks of the gradient, the loss, the updater and the bias of a run, before its first epoch."""
