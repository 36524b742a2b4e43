"""Running state from which a layer's spectrum follows: one contract, and a file for each way to keep it."""
