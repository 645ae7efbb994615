"""How far a plan can be believed."""
