"""Simulated plants: clips that are rendered from a seed, for whoever has no data at hand."""
