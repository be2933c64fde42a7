"""Selecting the modules of a base that get adapters: by kind, by a trial pass, and what is said of the rest."""
