"""One graph on several processes: rows shared out, boundary rows exchanged, gradients summed; the same numbers."""
