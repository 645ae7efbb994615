"""Models of JEPA-WMs."""
