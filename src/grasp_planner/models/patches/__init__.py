"""World models of patch features."""
