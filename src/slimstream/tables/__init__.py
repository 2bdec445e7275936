"""A paper's tables on real clips: `spec` says what they hold, `run` fills, `results` writes them."""
