"""The network pruned at several rates."""
