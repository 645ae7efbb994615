"""The commands behind ``grasp``, one a module: ``run(arguments) -> exit status``."""
