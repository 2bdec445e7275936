"""What networks share: fusion of streams, heads."""
