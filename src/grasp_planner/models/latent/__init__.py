"""World models trained from pictures."""
