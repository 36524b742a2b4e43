"""Streams of batches: what an analysis reads, made from whatever users have, and moved to the device."""
