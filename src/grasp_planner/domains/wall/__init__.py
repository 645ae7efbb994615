"""Wall: two rooms and a door."""
