"""stable-worldmodel: its models as ours, our planners as its solvers."""
