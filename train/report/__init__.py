"""What a run says of itself, while it goes on and when it is done."""
