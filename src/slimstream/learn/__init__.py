"""Training, compression and judgement, for any network and any data."""
