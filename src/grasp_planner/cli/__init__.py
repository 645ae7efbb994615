"""The command line ``grasp``: ``main`` calls the commands, which are in ``commands``; the rest are helpers."""
