"""How a peer finds others: the address book and the dialler."""
