"""Student → bundle: optimised, quantised ONNX behind parity and quality gates. Imports `bundle` only."""
