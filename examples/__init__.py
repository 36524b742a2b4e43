"""Short programs to read and to start from, a cell behind each ``# %%``; ``--tiny`` runs one in seconds."""
