"""Finished students by cost and quality, and the choice of one within a budget."""
