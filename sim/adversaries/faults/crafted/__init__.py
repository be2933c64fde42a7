"""Updates crafted from those of honest peers, to pass filters or to divide them."""
