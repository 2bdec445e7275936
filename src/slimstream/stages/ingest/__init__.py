"""The stage ingest, and where clips come from."""
