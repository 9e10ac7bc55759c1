"""The benchmark: verified first, timed fairly, side by side with what users would otherwise pick."""
