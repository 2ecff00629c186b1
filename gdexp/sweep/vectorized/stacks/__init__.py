"""Runs on any data: the parameters of each run are a row of one array."""
