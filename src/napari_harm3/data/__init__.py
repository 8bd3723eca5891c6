"""Cases as tensors."""
