"""Mini-batches: sampled neighbourhoods and clusters, each an `Operands` record that the one model takes."""
