"""The mathematics: problems, objectives, noise, plans and errors."""
