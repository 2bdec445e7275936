"""The stage prune, and the algorithm."""
