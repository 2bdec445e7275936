"""The page of `watch` for a browser, and /metrics."""
