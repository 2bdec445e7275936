"""Split clips into train, val and test by groups."""
