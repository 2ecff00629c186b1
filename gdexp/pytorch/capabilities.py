"""The capabilities of torch's own classes, readable without importing torch."""

from __future__ import annotations

TORCH: dict[str, dict[str, bool | str]] = {
    "torch.nn.MSELoss": {"measures": "the mean squared error", "vectorized": "squares"},
    "torch.nn.BCEWithLogitsLoss": {
        "task": "binary",
        "measures": "the cross-entropy of the logits",
    },
    "torch.nn.CrossEntropyLoss": {"task": "classes"},
    "torch.optim.SGD": {"dynamics": "heavy_ball", "vectorized": "SGD"},
    "torch.optim.Adam": {"adaptive": "adam", "vectorized": "Adam"},
    "torch.optim.AdamW": {"adaptive": "adam", "vectorized": "AdamW"},
    "torch.optim.Adagrad": {"vectorized": "Adagrad"},
    "torch.optim.RMSprop": {"vectorized": "RMSprop"},
}
"""Class path to capabilities, which gdexp's classes declare (:mod:`gdexp.config.capabilities`)."""

SPARSE = ("torch.optim.SparseAdam",)
"""Optimizers that take gradients in torch's sparse form."""
