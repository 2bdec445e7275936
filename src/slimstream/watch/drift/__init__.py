"""Whether what a camera shows is still what it showed before, and what was learnt from; no labels needed."""
