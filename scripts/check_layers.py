#!/usr/bin/env python3
"""Checks that every #include under planish/ is allowed by layers.txt and that CMakeLists.txt names the same folders.

Also: headers may include only the standard library and planish's own headers, so that third-party types stay in .cpp
files. Exceptions: headers in test/ folders, and <name>_internal.h, which in return only its own folder's .cpp files and
internal headers may include. Prints one line per violation and exits 1, or exits 0.
"""
import re
import sys
from pathlib import Path

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
# Intrinsics belong to the compiler, not to a third party; kernels need them in their vector headers.
SYSTEM_HEADERS = {"immintrin.h"}
INTERNAL = "_internal.h"


def read_layers(path):
    """{folder: (direct folders, "only" given)} from layers.txt."""
    rows = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            folder, _, deps = line.partition(":")
            names = deps.split()
            rows[folder] = ([n for n in names if n != "only"], "only" in names)
    return rows


def allowed(folder, rows):
    """Folders that `folder` may include: itself, base, its row, and what the row's folders may include."""
    direct, only = rows[folder]
    result = {folder, "base", *direct}
    for dep in [] if only else direct:
        result |= allowed(dep, rows)
    return result


def folder_of(path, rows):
    """The longest row that is a prefix of a path relative to planish/, or None."""
    return max((f for f in rows if path.startswith(f + "/")), key=len, default=None)


def check_includes(rows):
    for source in sorted((ROOT / "planish").rglob("*")):
        if source.suffix not in (".h", ".cpp", ".cu", ".inc"):
            continue
        shown = source.relative_to(ROOT)
        folder = folder_of(source.relative_to(ROOT / "planish").as_posix(), rows)
        if folder is None:
            yield f"{shown}:1: its folder has no row in layers.txt; add one or move the file"
            continue
        public = source.suffix == ".h" and not source.name.endswith(INTERNAL) and source.parent.name != "test"
        for number, line in enumerate(source.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            quote, name = match.groups()
            if name.startswith("planish/"):
                target = folder_of(name.removeprefix("planish/"), rows)
                if target not in allowed(folder, rows):
                    names = ", ".join(sorted(allowed(folder, rows)))
                    yield f"{shown}:{number}: {folder}/ may not include {name}; it may include: {names}"
                elif name.endswith(INTERNAL) and (public or target != folder):
                    yield f"{shown}:{number}: {name} is internal; include it only in {target}/'s own .cpp files"
            elif public and (quote == '"' or re.search(r"[./]", name)) and name not in SYSTEM_HEADERS:
                yield f"{shown}:{number}: {name} is not a planish or standard header; include it in a .cpp file"


def check_cmake(rows):
    text = (ROOT / "CMakeLists.txt").read_text()
    for match in re.finditer(r"^planish_layer\(([\w/]+)(?:\s+DEPS((?:\s+(?!LIBS\b|COLD\b)[\w/]+)*))?", text, re.M):
        folder, deps = match.group(1), (match.group(2) or "").split()
        line = text.count("\n", 0, match.start()) + 1
        if folder not in rows:
            yield f"CMakeLists.txt:{line}: {folder} has no row in layers.txt"
        elif sorted(deps) != sorted(rows[folder][0]):
            yield f"CMakeLists.txt:{line}: {folder} depends on {deps}, layers.txt says {rows[folder][0]}"


def main():
    rows = read_layers(ROOT / "layers.txt")
    problems = [*check_includes(rows), *check_cmake(rows)]
    print("\n".join(problems) or f"layers: {len(rows)} rows, no violation")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
