"""Frozen contexts: the blocks outside a trained window, made smaller.

A peer that trains a few blocks still needs all the others to compute a loss. What it needs of them is less than
they are: their weights rounded (`quantised`), some of them left out (`dropped`), or a few that were fitted to do
the work of many (`distilled`, LEFF). Embeddings, final norm, head and the window itself are never touched.
"""
