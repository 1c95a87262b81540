"""The neural networks, their training loop and their export to ONNX. Needs torch."""
