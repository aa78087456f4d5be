"""Variants of a recipe trained under one budget, to be compared."""
