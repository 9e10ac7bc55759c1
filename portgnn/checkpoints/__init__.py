"""Trained models and unfinished runs as files."""
