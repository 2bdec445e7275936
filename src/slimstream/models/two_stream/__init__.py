"""Backbones for two streams of pictures, and the networks they make."""
