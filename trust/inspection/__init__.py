"""Looking at who trusts whom: everything here only reads what peers and the simulator wrote."""
