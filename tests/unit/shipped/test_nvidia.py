# SPDX-License-Identifier: LGPL-2.1-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest

from lxctools.errors import LxcError
from lxctools.shipped import nvidia

from .hook import Box, one_line

UNPRIVILEGED = "         0     100000      65536\n"


def configure(box: Box, *own: str, version: int = 0, **more: str) -> list[str]:
    """The words with which nvidia-container-cli is called."""
    record = box.fake("nvidia-container-cli")
    record.unlink(missing_ok=True)
    box.fake("ldconfig.real")
    uid_map = box.folder / "uid_map"
    uid_map.write_text(UNPRIVILEGED)
    environment = box.environment(LXC_HOOK_VERSION=str(version), **more)
    words = [*own, *(("c1", "lxc", "mount") if version == 0 else ())]
    if version == 1:
        environment |= {"LXC_HOOK_TYPE": "mount", "LXC_HOOK_SECTION": "lxc"}
    pid = os.fork()
    if pid == 0:
        try:
            nvidia.run(words, environment, str(uid_map))
        except (LxcError, OSError) as error:
            record.write_text(f"{error}\n\n")
        finally:
            os._exit(9)
    os.waitpid(pid, 0)
    return record.read_text().split("\n")[:-2] if record.exists() else []


@pytest.mark.parametrize("version", [0, 1])
def test_the_call(box: Box, version: int) -> None:
    assert configure(box, version=version, NVIDIA_VISIBLE_DEVICES="0,1", NVIDIA_REQUIRE_CUDA="cuda>=9.0") == [
        "--user",
        "configure",
        "--no-cgroups",
        f"--ldconfig=@{box.bin}/ldconfig.real",
        "--device=0,1",
        "--utility",
        "--require=cuda>=9.0",
        str(box.rootfs),
    ]


def test_options_of_the_configuration(box: Box) -> None:
    own = ("--no-load-kmods", "--disable-require", "--debug", "/d", "--ldcache=/c", "--root", "/r", "--ldconfig", "/l")
    words = configure(box, *own, NVIDIA_VISIBLE_DEVICES="none", NVIDIA_DRIVER_CAPABILITIES="compute,video", NVIDIA_REQUIRE_X="y")
    expected = ["--debug=/d", "--ldcache=/c", "--root=/r", "--user", "configure", "--no-cgroups", "--ldconfig=/l", "--compute", "--video"]
    assert words == [*expected, str(box.rootfs)]


def test_an_old_cuda_image_gets_everything(box: Box) -> None:
    words = configure(box, CUDA_VERSION="8.0.61")
    assert words[4:-1] == ["--device=all", "--compute", "--compat32", "--display", "--graphics", "--utility", "--video", "--require=cuda>=8.0"]
    words = configure(box, CUDA_VERSION="8.0.61", NVIDIA_DISABLE_REQUIRE="true")
    assert not any(word.startswith("--require") for word in words)


@pytest.mark.parametrize(
    "given", [{}, {"NVIDIA_VISIBLE_DEVICES": ""}, {"NVIDIA_VISIBLE_DEVICES": "void"}, {"CUDA_VERSION": "8.0", "NVIDIA_VISIBLE_DEVICES": ""}]
)
def test_no_gpu_wanted(box: Box, given: dict[str, str]) -> None:
    record = box.fake("nvidia-container-cli")
    result = box.run("nvidia", "mount", **given)
    assert (result.returncode, result.stderr) == (0, "") and not record.exists()


def test_a_log_where_the_container_has_one(box: Box) -> None:
    assert configure(box, NVIDIA_VISIBLE_DEVICES="all", LXC_LOG_LEVEL="TRACE")[0] == f"--debug={box.folder}/hook/nvidia.log"
    assert (box.folder / "hook").is_dir()


def test_an_unknown_capability(box: Box) -> None:
    assert configure(box, NVIDIA_VISIBLE_DEVICES="all", NVIDIA_DRIVER_CAPABILITIES="utility,fly")[0].startswith(
        "NVIDIA_DRIVER_CAPABILITIES: unknown capability 'fly'"
    )


def test_what_is_wrong_is_one_line(box: Box) -> None:
    if not Path("/usr/bin/nvidia-container-cli").exists():
        result = box.run("nvidia", "mount", NVIDIA_VISIBLE_DEVICES="all")
        assert result.returncode == 1 and one_line(result.stderr) and "libnvidia-container-tools" in result.stderr
    box.fake("nvidia-container-cli")
    result = box.run("nvidia", "start", NVIDIA_VISIBLE_DEVICES="all")
    assert result.returncode == 1 and one_line(result.stderr) and "lxc.hook.mount" in result.stderr
    result = box.run("nvidia", "mount", "--bad", NVIDIA_VISIBLE_DEVICES="all")
    assert result.returncode == 1 and one_line(result.stderr) and "--bad" in result.stderr
    if os.geteuid() == 0:
        result = box.run("nvidia", "mount", NVIDIA_VISIBLE_DEVICES="all")
        assert result.returncode == 1 and one_line(result.stderr) and "lxc.idmap" in result.stderr
