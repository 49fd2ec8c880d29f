"""Data sets: photographs with an expert's masks, divided into folds, and checked for faults."""
