"""Graphs in a folder of memory-mapped arrays."""
