"""Toy: a bead on a wire. This folder is what a new world consists of; `test_new_world.py` adds it to the package."""
