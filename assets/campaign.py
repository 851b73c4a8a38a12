"""The name by which every `defs.yaml` calls a campaign: `type: assets.campaign.Campaign`."""

from assets.graph.campaign import Campaign

__all__ = ["Campaign"]
