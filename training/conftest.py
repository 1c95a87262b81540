"""Keeps pytest from importing modules that need torch or matplotlib when it collects doctests."""

collect_ignore = [
    "fit/charcnn.py",
    "fit/charcnn_bundle.py",
    "fit/loggpt.py",
    "fit/networks.py",
    "networks/charcnn.py",
    "networks/export.py",
    "networks/loggpt.py",
    "networks/loop.py",
    "networks/next_key_task.py",
    "paper/cnn.py",
    "paper/cnn_task.py",
    "paper/seq2seq.py",
    "paper/window_cnn.py",
    "report/__main__.py",
    "report/pictures.py",
]
