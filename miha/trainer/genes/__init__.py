"""What is switched at run time: activations, optimizers, noise, losses."""
