"""The stage validate, and what it asks of clips."""
