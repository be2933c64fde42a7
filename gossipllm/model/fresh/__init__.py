"""Random bases to pre-train from: a shape and a public seed give everybody the same model."""
