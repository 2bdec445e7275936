"""The stage distill, and its losses."""
