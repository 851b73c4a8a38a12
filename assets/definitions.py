"""The one module that Dagster loads."""

from assets.graph.definitions import defs

__all__ = ["defs"]
