"""Tables and curves computed from records."""
