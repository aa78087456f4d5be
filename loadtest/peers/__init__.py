"""Our server and other people's, measured in turns on one machine; from outside, as `loadtest` does."""
