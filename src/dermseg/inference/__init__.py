"""Find the lesion in one photograph, and say how sure that is."""
