"""The device study: which settings of training serve unequal devices, by what a loss costs in tokens, time, energy and
bytes."""
