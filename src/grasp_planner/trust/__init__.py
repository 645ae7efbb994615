"""The trust law, which predicts how many steps of a plan stay accurate, and the diagnosis of plans."""
