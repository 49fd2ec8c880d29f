"""A photograph in, its segmentation out."""
