"""Networks for grey pictures."""
