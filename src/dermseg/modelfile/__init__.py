"""The ONNX file that a model is kept in, and the card inside it."""
