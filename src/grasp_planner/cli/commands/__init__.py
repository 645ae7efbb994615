"""The commands of ``grasp``, one in each module: ``run(arguments) -> exit status``."""
