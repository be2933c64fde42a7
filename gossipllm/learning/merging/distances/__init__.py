"""How far neighbours are from this peer, by each kind of evidence, and which of them are alike."""
