"""Making models: data, colour, augmentation, networks, loss, loop and export. Needs PyTorch."""
