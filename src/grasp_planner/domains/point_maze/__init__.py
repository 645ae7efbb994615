"""PointMaze: a ball in a U-shaped maze."""
