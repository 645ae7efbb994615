"""The closed loop: the agent, what it remembers, and files of plans."""
