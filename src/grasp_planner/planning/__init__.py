"""The planner contract, the loop, its meter, and planners around planners."""
