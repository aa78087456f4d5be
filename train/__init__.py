"""Teacher → student: distil, then finetune. Imports `bundle` only."""
