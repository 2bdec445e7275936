"""Networks that process a clip as a volume or frame by frame."""
