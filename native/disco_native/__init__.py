"""Kernels for BERT-type encoders. Knows arrays; neither files nor text nor ONNX."""

from disco_native._native import Encoder, Model, apply, instruction_sets, multiply

__all__ = ["Encoder", "Model", "apply", "instruction_sets", "multiply"]
