"""Why a peer gives another the weight that it gives: what is recorded of it, and the same computed once more.

`case.py` finds the records, `recomputing.py` makes the row again, `proposals.py` the rows of all strategies,
`document.py` the answer as data, `page.py` the answer for people.
"""
