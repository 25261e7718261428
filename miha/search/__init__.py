"""The rules of the search: who is in a population, who wins, when a run ends."""
