"""Layers that several networks share: fusion of streams, heads."""
