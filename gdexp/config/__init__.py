"""From a command line to a job: settings and their ranges, composing, checking."""

__version__ = "0.3.0"
