"""Distillation from a dense network.

G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["distillation_loss"]


def distillation_loss(
    scores: torch.Tensor,
    teacher_scores: torch.Tensor,
    labels: torch.Tensor,
    *,
    temperature: float = 4.0,
    share: float = 0.7,
) -> torch.Tensor:
    """Cross entropy with the labels and, with weight ``share``, with the teacher's softened scores.

    Parameters
    ----------
    scores, teacher_scores : float [N, classes], before any softmax
    labels : int64 [N]
    temperature : both scores are divided by it, and its square makes up for the smaller gradients
    share : 0 for labels alone, 1 for the teacher alone
    """
    student = nn.functional.log_softmax(scores.float() / temperature, dim=1)
    teacher = nn.functional.log_softmax(teacher_scores.float() / temperature, dim=1)
    soft = nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
    hard = nn.functional.cross_entropy(scores.float(), labels)
    return share * temperature**2 * soft + (1 - share) * hard
