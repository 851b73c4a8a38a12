"""What is given before anything runs: places, settings, environments and their data, prices."""
