"""BallNav: a ball, thin walls, and a goal behind them. `grasp_planner.models.ball_nav` has the dynamics in torch."""
