#!/usr/bin/env bash
# The second step of environment.yml, see there; run it from the repository's root.
set -euo pipefail
python -m pip install --no-deps -r requirements/no-deps.txt
python scripts/kernel_package.py requirements/kernel.txt
