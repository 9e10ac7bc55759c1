"""The timing of verified programs: workers in processes of their own, turns in rounds, a quiet machine, statistics."""
