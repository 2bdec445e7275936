"""Backbones for two streams of frames, and the networks made of them."""
