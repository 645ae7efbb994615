"""What is compared: suites, the settings that are tried, and published results."""
