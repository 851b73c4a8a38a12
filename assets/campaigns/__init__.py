"""One folder per campaign, each with its `defs.yaml`."""
