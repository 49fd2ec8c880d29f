"""The file that a trained model is kept in, and the card inside it."""
