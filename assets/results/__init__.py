"""What came of earlier epochs: history, judgements, noise, summary."""
