"""The page that evaluate writes."""
