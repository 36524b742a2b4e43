"""The spread of layers while a network trains."""
