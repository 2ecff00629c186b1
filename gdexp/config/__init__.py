"""From a command line to a checked, composed configuration: settings, their ranges, a job."""
