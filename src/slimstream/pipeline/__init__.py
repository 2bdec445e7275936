"""All stages together."""
