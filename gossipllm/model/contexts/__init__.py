"""Contexts: compressed forms of the frozen blocks outside a block window.

A peer that trains a few blocks still needs the other blocks to compute a loss, but not at full size: their weights can
be rounded (`quantised`), some blocks can be left out (`dropped`), or a few blocks can be fitted to do the work of many
(`distilled`, LEFF). Embeddings, final norm, head and the block window itself stay unchanged.
"""
