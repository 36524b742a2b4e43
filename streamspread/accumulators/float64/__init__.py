"""The same sums for rows that are given as arrays or tensors, in float64 throughout: what PCA is made of."""
