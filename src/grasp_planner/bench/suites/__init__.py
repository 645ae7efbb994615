"""Suites (comparisons of planners), the spaces of settings for tuning, and published results."""
