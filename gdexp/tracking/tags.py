"""The tags of runs, by name; those that begin with ``mlflow.`` are shown by MLflow's pages."""

KIND = "gdexp.kind"  # run; or sweep: the summary run of one
SWEEP = "gdexp.sweep_id"  # the sweep that a run belongs to, or sums up
SWEEP_DIR = "gdexp.sweep_dir"  # the folder of a sweep
BEST_RUN = "gdexp.best_run"  # of a sweep: the id of its best run
JOB = "gdexp.job"  # the number of a run in its sweep
OVERRIDES = "gdexp.overrides"  # as typed
CONFIG_HASH = "gdexp.config_hash"  # the digest of the settings that determine the result
VERSION = "gdexp.version"  # of gdexp
OUTCOME = "gdexp.outcome"
REASON = "gdexp.reason"  # for the outcome
BEHAVIOUR = "gdexp.behaviour"  # monotone, oscillating or diverging
DECADES = "gdexp.decades"  # the epochs in which the loss had fallen to 1/10, 1/100, …
CLASSES = "gdexp.classes"  # the names of the classes, numbered
TOGETHER = "gdexp.together"  # the number of runs that were computed as one program
ENVIRONMENT = "gdexp.environment"  # libraries, machine and data, in JSON
PROCESS = "gdexp.process"  # of a run under way: the process that owns it
RUN_KEY = "gdexp.run_key"  # of a run whose id a server has given: RunRecord.run_id
DIRTY = "gdexp.git_dirty"  # whether the folder had changes that were not committed
DIFF = "gdexp.git_diff"  # their digest
COMMIT = "mlflow.source.git.commit"
NOTE = "mlflow.note.content"  # the command and the result in a sentence or two
USER = "mlflow.user"
