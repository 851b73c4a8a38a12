"""How a model at a provider is asked: protocols, tries, limits, keys, what a call costs."""
