"""Measure how fast this machine segments and trains."""
