"""Principal component analysis as an estimator: scikit-learn's interface over the library's exact sums."""
