"""A."""

print(1)
