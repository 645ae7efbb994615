"""Toy: a bead on a wire. This folder is an example of a new world, which `test_new_world.py` adds to the package."""
