"""Models of DINO-WM."""
