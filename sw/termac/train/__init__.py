"""Training for the accelerator: networks that pack, and networks that quantize (PyTorch)."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "termac.train needs PyTorch: pip install 'termac[train]'", name="torch"
    ) from None

from termac.train.combiner import Combiner
from termac.train.distill import distillation_loss
from termac.train.export import export, to_onnx
from termac.train.fake_quantize import FakeQuantizer
from termac.train.term_quantizer import TermQuantizer

__all__ = [
    "Combiner",
    "FakeQuantizer",
    "TermQuantizer",
    "distillation_loss",
    "export",
    "to_onnx",
]
