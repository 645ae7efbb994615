"""The closed loop: the agent, its history and current plans, and saving of plans and planner states."""
