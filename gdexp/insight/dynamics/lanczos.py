"""The largest eigenvalue of a symmetric matrix that is known only by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gdexp.insight.dynamics.curvature import Floats

ACCURATE = 0.03  # the relative residual to stop at; the error of an eigenvalue is about its square


def largest_eigenvalue(
    product: Callable[[Floats], Floats], start: Floats, products: int, accurate: float = ACCURATE
) -> float:
    """The algebraically largest eigenvalue, by the Lanczos method with full reorthogonalisation.

    After k products, the matrix projected on the Krylov space of the start vector is tridiagonal;
    its largest eigenvalue never exceeds the matrix's own, and comes close to it from below.
    Lanczos, "An iteration method for the solution of the eigenvalue problem", 1950; Parlett, "The
    Symmetric Eigenvalue Problem", 1980, chapter 13.

    Args:
        product: multiplies the matrix by a vector of shape (p,).
        start: the start vector, shape (p,), not 0.
        products: how many products to take at most.
        accurate: stop when the residual is below this share of the largest eigenvalue's size.

    >>> matrix = np.diag([1.0, 2.0, 5.0])
    >>> round(largest_eigenvalue(lambda v: matrix @ v, np.ones(3), products=3), 6)
    5.0
    """
    basis: list[Floats] = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    below: list[float] = []
    largest = -np.inf
    for _ in range(min(products, len(start))):
        w = product(basis[-1])
        diagonal.append(float(w @ basis[-1]))
        known = np.array(basis)
        for _ in range(2):  # twice is enough
            w = w - known.T @ (known @ w)
        length = float(np.linalg.norm(w))
        values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(below, 1) + np.diag(below, -1))
        largest = float(values[-1])
        scale = float(np.abs(values).max())
        if length * abs(vectors[-1, -1]) <= accurate * abs(largest) or length <= 1e-12 * scale:
            break
        basis.append(w / length)
        below.append(length)
    return largest
