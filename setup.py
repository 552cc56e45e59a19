# SPDX-License-Identifier: LGPL-2.1-or-later
"""What pyproject.toml cannot say: the launchers, templates, hooks and configuration fragments go into lxctools/_share.

pip knows no place for them that the package could find again. What is not for pip (manual pages, completions, units) is installed
by `make install` and by the Debian package.
"""

import os
import re

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("bin", "templates", "hooks", "config/common.conf.d", "config")
# From lxctools/_share/FOLDER/FILE to the folder that holds lxctools.
_ROOT = "os.path.realpath(__file__)"
for _level in range(4):
    _ROOT = f"os.path.dirname({_ROOT})"


class Build(build_py):
    """The modules, then what they run and read."""

    def run(self):
        """Build all."""
        super().run()
        if not getattr(self, "editable_mode", False):
            for folder in FOLDERS:
                for name in sorted(os.listdir(folder)):
                    if os.path.isfile(f"{folder}/{name}"):
                        self.place(f"{folder}/{name}")

    def place(self, path):
        """One file, which finds the package from where it is put."""
        target = f"{self.build_lib}/lxctools/_share/{path}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, encoding="utf-8") as file:
            text = re.sub(r"sys\.path\.insert\(0, .*\)$", f"sys.path.insert(0, {_ROOT})", file.read(), flags=re.MULTILINE)
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(target, os.stat(path).st_mode & 0o777)


setup(cmdclass={"build_py": Build})
