"""What every room may use: errors, paths, settings, files, progress."""
