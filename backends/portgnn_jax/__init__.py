"""JAX as a portgnn backend."""

from portgnn_jax.backend import JAXBackend

__all__ = ["JAXBackend"]
