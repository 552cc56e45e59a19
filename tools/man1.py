# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages of section 1, and lxc(7): options from the commands' tables, the rest from man/*.in.

A file man/lxc-NAME.1.in is roff: what stands before its first .SH belongs to DESCRIPTION, the rest follows the options.
In man/lxc.7.in the line `.\\" @commands` stands for all commands with what they do.
"""

import argparse
import importlib
import os
import re

from lxctools.cli._options import parser_for

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
_HELP = "--x-help"
_OPTIONS = re.compile(r"^\.SH (?:COMMON )?OPTIONS$", re.MULTILINE)


def commands():
    """(name, command table) of every command that has a launcher."""
    for launcher in sorted(os.listdir(f"{ROOT}/bin")):
        name = launcher.removeprefix("lxc-").replace("-", "_")
        if os.path.exists(f"{ROOT}/lxctools/cli/{name}.py"):
            yield launcher, importlib.import_module(f"lxctools.cli.{name}").COMMAND


def roff(text):
    """Text as roff shows it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def _manpage(parser):
    try:
        from argparse_manpage.manpage import Manpage
    except ImportError:
        # Its version 1, Debian 12's: the arguments of options are not in italics, and common options have no heading.
        from build_manpages.manpage import Manpage

        return Manpage(parser)
    data = {
        "project_name": "lxctools", "description": "", "long_description": "", "authors": [], "version": "", "url": "",
        "format": "pretty", "manual_section": 1, "manual_title": "lxctools",
    }  # fmt: skip
    return Manpage(parser, _data=data)


def options(command):
    """The option sections, as argparse-manpage writes them."""
    parser = parser_for(command)
    for action in parser._actions:
        # argparse-manpage leaves out what is called --help.
        action.option_strings = [_HELP if word == "--help" else word for word in action.option_strings]
        if (action.dest == "name" and not command.named) or (action.dest == "rcfile" and not command.rcfile):
            action.help = argparse.SUPPRESS
    page = str(_manpage(parser))
    found = _OPTIONS.search(page)
    text = page[found.start() :].replace(roff(_HELP), roff("--help")) if found else ""
    return re.sub(r"\n\n+", "\n", text).rstrip("\n") + "\n" if text else ""


def summary(command):
    """What it does, for NAME and lists: the first sentence, without its full stop."""
    return re.split(r"[.;:](?:\s|$)", command.summary.replace("\n", " "), maxsplit=1)[0]


def synopsis(launcher, command):
    lines = [line.strip().removeprefix(launcher).strip() for line in command.synopsis.split("\n")]
    return "".join(f".B {roff(launcher)}\n{roff(line)}\n" + ("" if line is lines[-1] else ".br\n") for line in lines)


def hand_written(launcher):
    """(the rest of DESCRIPTION, further sections)"""
    path = f"{ROOT}/man/{launcher}.1.in"
    if not os.path.exists(path):
        return "", ""
    with open(path, encoding="utf-8") as file:
        text = "".join(line for line in file if not line.startswith('.\\"'))
    start = text.find(".SH ")
    return (text[:start], text[start:]) if start >= 0 else (text, "")


def page(launcher, command):
    more, sections = hand_written(launcher)
    return (
        '.\\" SPDX-License-Identifier: LGPL-2.1-or-later\n'
        f'.TH {roff(launcher.upper())} 1 "" lxctools "lxctools"\n'
        f".SH NAME\n{roff(launcher)} \\- {roff(summary(command)[:1].lower() + summary(command)[1:])}\n"
        f".SH SYNOPSIS\n{synopsis(launcher, command)}"
        f".SH DESCRIPTION\n{more or roff(command.summary) + chr(10)}"
        f"{options(command)}{sections}"
    )


def overview():
    """lxc(7)."""
    with open(f"{ROOT}/man/lxc.7.in", encoding="utf-8") as file:
        text = file.read()
    rows = "".join(f".TP\n.BR {roff(launcher)} (1)\n{roff(summary(command))}\n" for launcher, command in commands())
    return text.replace('.\\" @commands\n', rows)


def pages():
    """(file name, text)"""
    for launcher, command in commands():
        yield f"{launcher}.1", page(launcher, command)
    yield "lxc.7", overview()
