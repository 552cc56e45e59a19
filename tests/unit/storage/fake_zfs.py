#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What zfs(8) does with names: datasets, snapshots, clones. Its state is the file STATE; each dataset: its origin and its snapshots."""

import json
import os
import sys

STATE = os.environ["STATE"]


def fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def main(verb: str, words: list[str]) -> None:
    with open(STATE) as file:
        sets = json.load(file)
    plain = [word for word in words if not word.startswith("-") and "=" not in word]
    clones = {f"{name}@{tag}": [] for name, facts in sets.items() for tag in facts["snapshots"]}
    for name, facts in sets.items():
        if facts["origin"] != "-":
            clones[facts["origin"]].append(name)
    name = words[-1]
    owner, _, tag = name.partition("@")
    there = name in clones or name in sets
    if verb in ("get", "list", "promote", "destroy") and not there:
        fail(f"cannot open '{name}': dataset does not exist")
    if verb == "get":
        print(name if "name" in words else sets[name]["origin"])
    elif verb == "list":
        for one in sets[name]["snapshots"]:
            print(f"{name}@{one}\t{','.join(clones[f'{name}@{one}'])}")
    elif verb == "snapshot":
        if there:
            fail(f"cannot create snapshot '{name}': dataset already exists")
        sets[owner]["snapshots"].append(tag)
    elif verb == "clone":
        if there:
            fail(f"cannot create '{name}': dataset already exists")
        sets[name] = {"origin": plain[-2], "snapshots": []}
    elif verb == "promote":
        origin, tag = sets[name]["origin"].split("@")
        old = sets[origin]["snapshots"]
        moved, sets[origin]["snapshots"] = old[: old.index(tag) + 1], old[old.index(tag) + 1 :]
        if set(moved) & set(sets[name]["snapshots"]):
            fail(f"cannot promote '{name}': snapshot name conflicts")
        sets[name]["snapshots"] = moved + sets[name]["snapshots"]
        for other in sets.values():
            if other["origin"].split("@")[0] == origin and other["origin"].split("@")[-1] in moved:
                other["origin"] = f"{name}@{other['origin'].split('@')[1]}"
        sets[name]["origin"], sets[origin]["origin"] = sets[origin]["origin"], f"{name}@{tag}"
    elif verb == "destroy":
        if any(clones[one] for one in clones if one == name or one.split("@")[0] == name):
            fail(f"cannot destroy '{name}': filesystem has dependent clones")
        if tag:
            sets[owner]["snapshots"].remove(tag)
        else:
            del sets[name]
    with open(STATE, "w") as file:
        json.dump(sets, file)


main(sys.argv[1], sys.argv[2:])
