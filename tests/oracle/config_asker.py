# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run by Debian's Python with python3-lxc: what C LXC answers for configurations.

Reads JSON lines [folder, [key, ...]] from stdin, for containers FOLDER/c, and writes for each a JSON line: null when the
configuration is refused, else for each key its get_config_item, null for an invalid key.
"""

import json
import os
import sys

import _lxc


def answers(folder: str, keys: list[str]) -> object:
    try:
        container = _lxc.Container("c", config_path=folder)
    except Exception:
        return None
    found = {}
    for key in keys:
        try:
            found[key] = container.get_config_item(key)
        except Exception:
            found[key] = None
    return found


def main() -> None:
    # What liblxc prints about refused lines is of no interest.
    os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
    for line in sys.stdin:
        folder, keys = json.loads(line)
        print(json.dumps(answers(folder, keys)), flush=True)


main()
