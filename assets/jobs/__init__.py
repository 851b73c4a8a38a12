"""Jobs of any stage: what a launcher is told of them, and what is recorded."""
