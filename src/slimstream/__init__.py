"""slimstream: from labelled video to a small, registered diagnosis model."""
