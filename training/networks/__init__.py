"""The neural networks, their training loop and their export to ONNX. All of it needs torch but `curve` and `key_windows`."""
