"""World models trained by DINO-WM (arXiv 2411.04983)."""
