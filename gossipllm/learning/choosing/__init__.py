"""What a learner measures of its device and text, to choose the settings that say "auto"."""
