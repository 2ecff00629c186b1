"""Where a vectorized program is computed: this process, others of this machine, or Ray."""
