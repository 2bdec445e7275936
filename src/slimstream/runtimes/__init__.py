"""Deployed networks: written down, opened, asked, timed."""
