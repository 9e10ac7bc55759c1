"""What users would otherwise pick, each trained as its own documentation does it."""
