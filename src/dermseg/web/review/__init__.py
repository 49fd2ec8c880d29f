"""The review of a folder's masks."""
