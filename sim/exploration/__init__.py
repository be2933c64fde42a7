"""Random worlds with faults and adversaries, each drawn from one seed, and a checker of what must hold in every one."""
