"""ONNX model files: reading, operators by name, shapes."""
