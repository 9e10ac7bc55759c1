"""What a run tells while it goes on, and what it leaves."""
