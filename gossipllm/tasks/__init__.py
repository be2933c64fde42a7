"""What a model is asked to do and how well it does it: files of tasks, greedy answers, and the metrics of the trade."""
