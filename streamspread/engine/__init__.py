"""One analysis, from plan to spectra."""
