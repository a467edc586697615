"""What may be asked of a host: one package for each kind of request, and the list of them."""
