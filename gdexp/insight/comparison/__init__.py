"""Where two runs differ, and why."""
