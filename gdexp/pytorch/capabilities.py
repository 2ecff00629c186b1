"""What torch's own classes can do, written down: read without importing torch."""

from __future__ import annotations

TORCH: dict[str, dict[str, bool | str]] = {
    "torch.nn.MSELoss": {"measures": "the mean squared error", "vectorized": "squares"},
    "torch.nn.BCEWithLogitsLoss": {
        "task": "binary",
        "measures": "the cross-entropy of the logits",
    },
    "torch.nn.CrossEntropyLoss": {"task": "classes"},
    "torch.optim.SGD": {"proportional": True, "vectorized": "SGD"},
}
"""By the path of a class, what :mod:`gdexp.config.capabilities` reads off classes of ours."""
