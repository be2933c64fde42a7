"""How simulated peers reach each other: the graph, its links, and what obstructs them."""
