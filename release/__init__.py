"""What a release takes: distributions that are built and tried, a conda recipe, images for containers."""
