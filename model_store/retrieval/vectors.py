"""The type of vectors of items."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
"""Rows of float32; unit vectors where nothing else is said."""
