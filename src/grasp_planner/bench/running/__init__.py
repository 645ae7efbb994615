"""Planning and measuring the episodes of a suite."""
