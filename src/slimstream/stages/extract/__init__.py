"""The stage extract, on this machine or on a cluster."""
