"""What must hold in every history, whatever was done to the peers: the invariants, and the checks of them."""
