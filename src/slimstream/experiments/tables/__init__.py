"""The tables of the papers, computed on the user's clips."""
