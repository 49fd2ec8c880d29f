"""Train networks to find lesions. Needs PyTorch."""
