"""Studies of a world model that `grasp diagnose` runs: one claim about long horizons per module."""
