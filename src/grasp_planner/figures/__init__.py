"""Figures that are drawn from recordings and records. This folder does no planning."""
