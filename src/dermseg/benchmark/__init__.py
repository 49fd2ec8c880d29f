"""How fast segmenting and training are on this machine."""
