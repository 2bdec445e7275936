"""Clips parted into train, val and test by groups."""
