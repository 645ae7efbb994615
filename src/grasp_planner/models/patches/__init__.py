"""World models on patch tokens: what the models of DINO-WM and JEPA-WMs have in common."""
