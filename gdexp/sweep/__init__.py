"""Many runs at once: all runs of a sweep that differ only in numbers are one batched program."""
