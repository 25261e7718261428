"""Trainers: what puts genomes and snapshots into a live network and trains it."""
