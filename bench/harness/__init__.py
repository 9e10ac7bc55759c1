"""What the benchmark of the peers has beyond `portgnn.benchmark`: who they are, and result files read back."""
