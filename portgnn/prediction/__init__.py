"""What a trained model says of nodes, and how right it is."""
