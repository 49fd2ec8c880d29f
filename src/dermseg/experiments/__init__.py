"""The paper's tables and figures, made again; each is an entry of `registry.EXPERIMENTS`."""
