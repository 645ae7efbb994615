"""Studies of a world model that `grasp diagnose` runs. Each module tests one claim about long horizons."""
