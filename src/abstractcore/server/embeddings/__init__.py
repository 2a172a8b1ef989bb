"""Embeddings on every backend that makes them; scores, rankings and tokens on those that have them."""
