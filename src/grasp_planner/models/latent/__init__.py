"""Trainable world models of pictures: one model with encoders and predictors to choose from."""
