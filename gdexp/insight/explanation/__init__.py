"""One epoch of a run in numbers, with the lines of code that compute it."""
