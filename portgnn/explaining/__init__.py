"""Looking into a trained network: what it pays to neighbours, and which edges and features an answer comes from."""
