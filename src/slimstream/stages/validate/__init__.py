"""The stage validate, and its checks of clips."""
