"""A folder of masks scored against the truth."""
