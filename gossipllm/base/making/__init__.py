"""How the embedded base model was made: its corpus, vocabulary and pre-training. Not part of the wheel."""
