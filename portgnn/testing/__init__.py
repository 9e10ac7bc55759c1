"""The conformance kit: does a backend compute what portgnn needs, and the same numbers as all others?

    pytest --pyargs portgnn.testing --backend NAME [--device D] [--dtype T] [--examples N] [--epochs N] [--draw SEED]

NAME is a registered backend or, before it is registered, "package.module:Class". The checks are those of
`portgnn verify`, on shapes and graphs that hypothesis draws, and on 200-epoch trajectories of every preset,
adjacency form and feature form. Needs `pip install "portgnn[testing]"`.
"""
