"""What this device is and takes: its energy counters, what a training step costs on it, and the plan that follows."""
