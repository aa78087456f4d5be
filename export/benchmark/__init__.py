"""Engines that can run a student, measured against each other and against what the CPU's matrix products allow."""
