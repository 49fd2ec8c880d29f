"""Compare a folder of masks with an expert's."""
