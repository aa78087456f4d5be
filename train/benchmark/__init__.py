"""Our training loop and teacher against those of sentence-transformers."""
