"""Benchmarks: tasks, suites, runs of suites, records, and tables of results."""
