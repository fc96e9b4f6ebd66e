#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the tests have executed of the product: lines and branches of each file, then the functions
of libcore that nothing calls. A source may be in several objects (libcore, libsmall, libstores): what
one of them has executed counts. `make coverage` runs it in the folder of the build."""

import json
import os
import subprocess
import sys
from collections import defaultdict

FOLDERS = ("proto", "pagemap", "iouring", "uffd", "tool")


def main(src, core):
    data = [
        os.path.join(folder, name)
        for top in FOLDERS
        for folder, _, names in os.walk(top)
        for name in names
        if name.endswith(".gcda") and not name.endswith(".pb-c.gcda")
    ]
    gcov = ["gcov", "--branch-probabilities", "--json-format", "--stdout", *data]
    out = subprocess.run(gcov, check=True, capture_output=True, text=True).stdout
    lines = defaultdict(lambda: defaultdict(int))
    branches = defaultdict(lambda: defaultdict(int))
    functions = defaultdict(lambda: defaultdict(int))
    for report in map(json.loads, out.splitlines()):
        for file in report["files"]:
            path = os.path.join(report["current_working_directory"], file["file"])
            name = os.path.relpath(os.path.realpath(path), os.path.realpath(src))
            if name.split("/")[0] not in FOLDERS or ".pb-c." in name:
                continue
            for line in file["lines"]:
                at = line["line_number"]
                lines[name][at] += line["count"]
                for i, branch in enumerate(line["branches"]):
                    branches[name][at, i] += branch["count"]
            for function in file["functions"]:
                functions[name][function["name"]] += function["execution_count"]

    def percent(of):
        return f"{100 * sum(n > 0 for n in of) / len(of):6.1f}" if of else "     -"

    print(" lines branches  file")
    for name in sorted(lines):
        print(percent(lines[name].values()), percent(branches[name].values()), "", name)
    parts = [(f"{top}/", [f for f in lines if f.startswith(f"{top}/")]) for top in FOLDERS]
    for title, names in *parts, ("libcore", core):
        both = [[n for f in names for n in of[f].values()] for of in (lines, branches)]
        print(percent(both[0]), percent(both[1]), "", title)
    for name in core:
        for function, n in sorted(functions[name].items()):
            if not n:
                print(f"never called: {function} ({name})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
