"""What a student is on disk and the one way to run it; knows nothing of training, exporting or HTTP."""
