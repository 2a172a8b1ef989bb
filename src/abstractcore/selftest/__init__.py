"""The self-test: everything that the package promises, tried on a live server and through a gateway of its own."""
