"""The forward pass (`forward`), and what it multiplies with, each part stated once, whoever computes it.

`edges`: what an edge weighs. `field`: the rows that a loss reads. `elements`: which numbers dropout knows elements by.
`targets`: what a loss counts. `operands`: these on a device. `prepared` and `whole`: of a graph in memory. Batches are
in `portgnn.loaders.batch`, and one process's part of several in `portgnn.distributed._halo`.
"""
