"""Typed, documented settings; importing them does not import PyTorch."""
