"""Versions of a model: registered, judged, promoted, watched, thrown away."""
