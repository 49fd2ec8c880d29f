"""Data sets: photographs with their masks, who is in them, folds, and what is wrong with them."""
