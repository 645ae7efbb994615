"""Models around models: in pieces, compiled or at lower precision; ensembles; samples of stochastic models."""
