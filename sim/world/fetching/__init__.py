"""How simulated peers fetch blobs and repair what they missed."""
