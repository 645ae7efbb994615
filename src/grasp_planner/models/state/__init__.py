"""World models of simulator states."""
