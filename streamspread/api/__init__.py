"""The doors: what callers from Python, and the command line, go in by."""
