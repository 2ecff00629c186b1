"""Many runs at once: the runs of a sweep that differ only in numbers are one vectorized program."""
