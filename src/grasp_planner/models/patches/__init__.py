"""World models on patch tokens: the common parts of the models of DINO-WM and JEPA-WMs."""
