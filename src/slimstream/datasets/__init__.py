"""Batches of packed clips for training and evaluation."""
