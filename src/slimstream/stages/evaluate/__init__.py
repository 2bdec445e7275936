"""The stage evaluate, and its report."""
