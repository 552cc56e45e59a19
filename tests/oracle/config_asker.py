# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run by Debian's Python with python3-lxc: what C LXC answers for configurations.

Reads JSON lines [folder, [key, ...]] from stdin, for containers FOLDER/c, and writes for each a JSON line: null when the
configuration is refused, else for each key its get_config_item, null for an invalid key.

A third item is a list of changes, [key, value] to set and [key] to clear, which are made and saved before; then the answers
are those of the saved file, with a list of 1 (done) and 0 (refused) under "changes".
"""

import json
import os
import sys

import _lxc


def change(folder: str, changes: list[list[str]]) -> list[int]:
    container = _lxc.Container("c", config_path=folder)
    done = []
    for key, *value in changes:
        try:
            done.append(int(container.set_config_item(key, *value) if value else container.clear_config_item(key)))
        except Exception:
            done.append(0)
    container.save_config()
    return done


def answers(folder: str, keys: list[str], changes: list[list[str]] | None = None) -> object:
    found: dict[str, object] = {}
    try:
        if changes is not None:
            found["changes"] = change(folder, changes)
        container = _lxc.Container("c", config_path=folder)
    except Exception:
        return None
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
        print(json.dumps(answers(*json.loads(line))), flush=True)


main()
