"""What `x` may be: arrays, larger ones, data sets, loaders, iterables."""
