"""One graph: its record, what it is checked for, other libraries' objects of it, and its fingerprint."""
