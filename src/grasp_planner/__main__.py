"""Run the command line: ``python -m grasp_planner``."""

import sys

from grasp_planner.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
