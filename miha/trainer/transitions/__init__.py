"""How a clone comes by its first values: fresh, folded, rescaled, blended."""
