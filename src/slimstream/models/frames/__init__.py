"""Clips seen frame by frame or as volumes: one stream, two, a picture."""
