"""Evidence to rows: how much a peer takes from whom, and the record of it. numpy and scipy, no torch."""
