"""Networks of frozen features with a trained head."""
