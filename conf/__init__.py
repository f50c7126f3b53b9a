"""Hydra's configuration; it mirrors the code."""
