"""Clips from source to batch: listing, storing, checking, splitting, decoding, packing."""
