"""Models leave portgnn for other libraries' files, and enter from them."""
