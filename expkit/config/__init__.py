"""From the command line to checked plain values: what Hydra composes, read, refused or explained."""
