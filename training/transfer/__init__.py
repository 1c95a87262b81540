"""Parts of `python -m training.transfer_benchmark`: the sets of held-out runs, the figures, and the page."""
