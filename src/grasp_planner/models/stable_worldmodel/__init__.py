"""Models of stable-worldmodel as world models, and any planner as a solver of stable-worldmodel."""
