#!/usr/bin/env bash
# Code that reads annotations (checks of arguments, converters, command lines) knows an array by
# `typing.get_origin(NDArray[float]) is numpy.ndarray`. So it was up to NumPy 2.4. From 2.5 on `NDArray` is made by a `type` statement
# (PEP 695): its origin is the alias itself, `isinstance` with that raises TypeError, and `get_args` gives the number's type alone,
# where it gave shape and dtype. `__value__` leads to the class, as in pydantic. NumPy 2.5 needs Python 3.12, so the same release of a
# package that is tested on 3.11 works there and fails on 3.12 at its first call; nothing about it is deprecated or warned of.
# numpy 2.5.5 beside 2.4.6. ganvas unwraps `type` statements (`ganvas.ground.arguments`). Needs Python 3.12 or later, by
# PYTHON=..., on the path or by pyenv. Exits with 1 if this is no longer so.
set -eu
for python in "${PYTHON:-}" python3.14 python3.13 python3.12 python3 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python; do
  [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
  python=
done
[ -n "$python" ] || { echo "needs Python 3.12 or later: PYTHON=/path/to/python3.12 $0" >&2; exit 2; }
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cat >"$dir/look.py" <<'PYTHON'
import typing

import numpy
from numpy.typing import NDArray

hint = NDArray[numpy.float64]
origin = typing.get_origin(hint)
try:
    answer = isinstance(numpy.ones(3), origin)
except TypeError as error:
    answer = f"TypeError: {error}"
value = typing.get_origin(getattr(origin, "__value__", None))
print(f"numpy {numpy.__version__}: origin {origin!r}, of type {type(origin).__name__}; isinstance: {answer}; "
      f"{len(typing.get_args(hint))} arguments; __value__ of {value}")
old = origin is numpy.ndarray and answer is True and len(typing.get_args(hint)) == 2
new = type(origin).__name__ == "TypeAliasType" and answer is not True and len(typing.get_args(hint)) == 1
raise SystemExit(not (old if numpy.__version__ == "2.4.6" else new and value is numpy.ndarray))
PYTHON
for version in 2.4.6 2.5.5; do
  "$python" -m venv "$dir/$version"
  "$dir/$version/bin/pip" install -q "numpy==$version"
  "$dir/$version/bin/python" -W error "$dir/look.py"
done
