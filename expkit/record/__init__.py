"""What a run leaves: metrics, traces, checkpoints, plots and result.json, and what the screen shows of them."""
