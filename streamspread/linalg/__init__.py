"""Linear algebra on packed symmetric matrices: panels, leading eigenvalues, certificates."""
