"""Readers of photographs in forms that Pillow does not know, each imported when one is met."""
