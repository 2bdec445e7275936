"""The deployed forms of all models."""
