"""How far a plan can be believed: the trust law, the diagnosis of plans, and distances from the training data."""
