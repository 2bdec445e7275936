"""Frozen features and a fitted head."""
