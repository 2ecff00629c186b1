"""Sweeps on a cluster: each task computes a shard of the runs and brings its records back as files.

``launch`` is the process that one starts: it splits the jobs (``splitting``), submits the shards
(``executor``), and writes to the store what the tasks (``task``) put into ``outputs/spool``. What
they tell of their runs besides is in the sweep's folder (``exchange``).
"""
