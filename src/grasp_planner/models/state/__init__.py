"""World models trained from state vectors."""
