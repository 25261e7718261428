"""The schedule of hyperparameters that won, trained again."""
