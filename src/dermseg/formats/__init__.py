"""Outlines in the forms that other tools read: one file a form, each with `read` and `write`."""
