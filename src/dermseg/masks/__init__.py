"""Turn a probability map into a mask, and measure how good a mask is."""
