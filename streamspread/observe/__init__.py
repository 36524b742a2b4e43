"""A network while data goes through it: taps, a model placed and put back, the pass loop."""
