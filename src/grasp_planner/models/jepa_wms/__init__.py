"""World models trained by JEPA-WMs (arXiv 2512.24497)."""
