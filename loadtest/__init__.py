"""HTTP → numbers: a black-box load generator that imports nothing of this project."""
