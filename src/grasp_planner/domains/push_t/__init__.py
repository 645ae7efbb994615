"""Push-T: a pusher and a T-shaped block."""
