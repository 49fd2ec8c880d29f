"""The paper's comparisons, made again: each one an entry of `registry.EXPERIMENTS`."""
