"""Sweeps: listing the jobs, computing them as vectorized programs, resuming, summarising."""
