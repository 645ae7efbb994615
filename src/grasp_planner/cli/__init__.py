"""The command line ``grasp``: ``main`` calls the commands in ``commands``; the other modules are helpers."""
