"""Answers damaged as models damage them, with the tree that each must give, or none.

Real edits of the environments (`edits.py`) are written down as a diff, as blocks or as whole files
and damaged in ways that have names (`ways.py`, `traps.py`). Drawn from a fixed seed: the same
corpus each time.
"""
