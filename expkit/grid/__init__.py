"""Grids of the command line (`-m optim=sgd,adam`): one tracked run with a nested run for each job."""
