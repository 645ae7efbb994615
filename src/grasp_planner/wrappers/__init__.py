"""Models around models: evaluation in pieces, compiled or at low precision; ensembles; samples of stochastic models."""
