"""BallNav's world: its maps, its rules and the shortest ways through it; numpy alone.

The environment, the model and the scripted policy are all made from this one description.
"""
