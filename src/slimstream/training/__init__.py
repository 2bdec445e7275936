"""Networks learn: the loop, what it minimises, and what its state and results are."""
