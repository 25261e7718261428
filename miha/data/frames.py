"""Data frames and series of pandas, which is not imported for that: as arrays, as in `fit`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from miha.data.text import is_text
from miha.errors import ArgumentError


def is_frame(values: Any) -> bool:
    """Return whether something is a data frame or a series of pandas."""
    for kind in type(values).__mro__:
        root, *_ = kind.__module__.split(".")
        if root == "pandas" and kind.__name__ in ("DataFrame", "Series"):
            return True
    return False


def array_of_frame(values: Any) -> np.ndarray:
    """Return a frame as an array of rows, and a series as one column, as `fit` does.

    Raises:
        ArgumentError: A column holds what `fit` cannot make a number; the message names it.
    """
    if values.ndim == 1:
        return _column(values, _refusal_of_series)[:, np.newaxis]
    columns = [
        _column(values.iloc[:, place], _refusal_of_column) for place in range(values.shape[1])
    ]
    if not columns:
        return np.empty(values.shape)

    odd = [str(name) for name, column in zip(values, columns, strict=True) if is_text(column)]
    if odd and len(odd) < len(columns):
        raise _refusal(odd[0], "text")
    return np.stack(columns, axis=1)


def _column(series: Any, refusal: Callable[[Any], ArgumentError]) -> np.ndarray:
    """Return the numbers of a column; missing ones are NaN. Text stays text."""
    dtype = series.dtype
    # Pandas' own types say as well of what kind their values are: whole, boolean, real.
    if dtype.kind in "biuf":
        return _numbers(series, dtype)

    values = np.asarray(series)
    if is_text(values):
        # Categories are text as well, but nobody reads them as sentences.
        if str(dtype) == "category":
            raise refusal(series)
        return values
    try:
        return np.asarray(series.astype(keras.config.floatx()))
    except (TypeError, ValueError) as error:
        raise refusal(series) from error


def _numbers(series: Any, dtype: Any) -> np.ndarray:
    if isinstance(dtype, np.dtype):
        return np.asarray(series)
    if series.isna().any():
        return np.asarray(series.to_numpy("float64", na_value=np.nan))
    plain = {"b": "bool", "f": "float64"}.get(dtype.kind, "int64")
    return np.asarray(series.to_numpy(plain))


def _refusal_of_series(series: Any) -> ArgumentError:
    kind = str(series.dtype)
    categories = "y" if kind == "category" else "y.astype('category')"
    return ArgumentError(
        "Labels must be numbers, and so must any series but one of text. "
        f"Received: a series of {kind}, such as {str(series.iloc[0])!r}. "
        f"Number the classes from 0: {categories}.cat.codes."
    )


def _refusal_of_column(series: Any) -> ArgumentError:
    return _refusal(str(series.name), str(series.dtype))


def _refusal(name: str, kind: str) -> ArgumentError:
    return ArgumentError(
        "Every column of a data frame must hold numbers, or every one text. "
        f"Received: column {name!r} of {kind}. Make numbers of it: `pandas.get_dummies(frame)`, "
        f"or `frame[{name!r}].astype('category').cat.codes`."
    )
