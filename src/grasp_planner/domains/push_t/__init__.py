"""Push-T: a pusher and a T-shaped block. `grasp_planner.models.state.push_t` is the learned model of its states."""
