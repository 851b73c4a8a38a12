"""What an attempt of a stage sees and may use: context, model calls, spending, lock, order."""
