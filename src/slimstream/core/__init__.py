"""Modules that all packages may use: errors, paths, settings, files, progress."""
