"""What a network is trained for: a loss, its metrics and what a prediction looks like."""
