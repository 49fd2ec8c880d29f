"""From a probability map to a mask, and how good a mask is. Arrays in, arrays out."""
