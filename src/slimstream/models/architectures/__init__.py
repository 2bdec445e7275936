"""Architectures without backbones: one stream, two streams, volumes, pictures."""
