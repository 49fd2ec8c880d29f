"""Small data sets and a small network for the tests of the training."""

from toy import _one_thread, picture, tiny, toy_data

__all__ = ["_one_thread", "picture", "tiny", "toy_data"]
