"""Distributed inference: TFRecord files in, one submission CSV out."""
