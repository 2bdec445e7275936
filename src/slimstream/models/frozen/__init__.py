"""Frozen features with a head of their own."""
