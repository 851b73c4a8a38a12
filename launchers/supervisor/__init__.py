"""The supervisor of one job: it travels with the job and imports nothing of the launching side."""
