"""Many photographs: their masks, and the report of a folder."""
