"""The live view: files that grow -> what is known by now -> what a terminal shows of it."""
