"""What comes out: spectra, intervals, the bounds that prove them, points in the plane. NumPy alone."""
