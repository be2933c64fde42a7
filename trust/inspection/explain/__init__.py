"""`gossipllm trust explain`: why one peer gives another its weight, from the records and by computing the row again.

`case.py` finds the records, `recomputing.py` computes the row again, `proposals.py` the rows of all strategies,
`answering.py` puts them together as the document of `document.py`, and `page.py` prints that as text.
"""
