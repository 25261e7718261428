"""Entries of a journal."""

from __future__ import annotations

import itertools

from fakes import GENOME

NUMBERS = itertools.count()


def entry(gene, fitness, cycle=1, genome=GENOME, parent="model/model_init.zip", archive=None):
    return {
        "phase": "clone",
        "cycle": cycle,
        "clone": next(NUMBERS),
        "parent": parent,
        "archive": archive,
        "genome": genome.to_dict(),
        "change": {"gene": gene},
        "fitness": fitness,
    }
