"""Arrays by the type of their elements, as signatures name them; their shapes are in the docstrings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]
F16 = npt.NDArray[np.float16]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

Integer = npt.NDArray[np.integer]
Floating = npt.NDArray[np.floating]
"""Of any width."""

Values = npt.NDArray[Any]
"""Of any type."""
