"""Benchmarks: one file per question, each printing a table and writing its numbers with their environment."""
