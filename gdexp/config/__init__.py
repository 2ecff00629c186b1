"""From a command line to a checked, composed configuration: settings, their ranges, a job."""

__version__ = "0.2.0"
