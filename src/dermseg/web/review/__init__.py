"""Review the masks of a folder: accept, reject or correct each."""
