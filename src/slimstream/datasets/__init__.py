"""Packed clips as batches for training."""
