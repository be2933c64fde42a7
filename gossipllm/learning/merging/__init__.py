"""Merging adapters: by a row of weights over neighbours' updates, or by push-sum. In numpy; loads no torch."""
