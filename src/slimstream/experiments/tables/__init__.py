"""The tables of the papers, on one's own clips."""
