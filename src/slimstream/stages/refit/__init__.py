"""Heads fitted to train and val clips."""
