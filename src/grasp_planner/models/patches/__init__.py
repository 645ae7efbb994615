"""World models on patch tokens: our own, and the common parts of the models of DINO-WM and JEPA-WMs."""
