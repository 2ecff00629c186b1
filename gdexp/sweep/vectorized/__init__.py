"""Runs that differ only in numbers, computed as one program."""
