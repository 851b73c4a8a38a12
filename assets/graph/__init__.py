"""Campaigns in Dagster: the only room that imports it, which costs seconds."""
