"""Kernels for BERT-type encoders. Knows arrays; neither files nor text nor ONNX."""

from disco_native._native import Encoder, LengthError, Model, apply, instruction_sets, multiply

__all__ = ["Encoder", "LengthError", "Model", "apply", "instruction_sets", "multiply"]
