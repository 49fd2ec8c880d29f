"""Segment many photographs at once, and report on them."""
