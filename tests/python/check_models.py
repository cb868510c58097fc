"""Checks models with the onnx package, types and shapes of all values included.

Usage: check_models.py FILE... Fails at the first that is not what the standard says.
"""

import sys

import onnx

for path in sys.argv[1:]:
    try:
        onnx.checker.check_model(path, full_check=True)
    except Exception as error:
        sys.exit(f"{path}: {error}")
