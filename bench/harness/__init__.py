"""The machinery of the benchmark: who is timed, how, and by what clock."""
