"""Updates as bytes: the tensors of units, whole or packed against an earlier update."""
