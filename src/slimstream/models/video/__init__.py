"""Networks that see a clip as a volume."""
