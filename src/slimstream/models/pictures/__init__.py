"""Networks of grey pictures."""
