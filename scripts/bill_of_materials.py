#!/usr/bin/env python3
"""What the programs are made of: what cargo knows of the dependencies flows in, a bill of materials for each program flows out
(CycloneDX 1.5), the same bytes for the same sources. `scripts/image` puts one of all three into the image.

    scripts/bill_of_materials.py FOLDER"""

import datetime
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = "x86_64-unknown-linux-gnu"
PROGRAMS = ("nearside-proxy", "nearside-controller", "nearside-dns-sync")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        path = folder / f"{program}.cdx.json"
        bill = of_program(program)
        path.write_bytes(encoded(bill))
        print(f"{path}: {len(bill['components'])} components")


def of_program(program: str) -> dict:
    """What is in one program."""
    packages = linked((program,))
    own = next(package for package in packages if package["name"] == program)
    others = [package for package in packages if package is not own]
    main_component = {**component(own), "type": "application"}
    graph = [{"ref": reference(package), "dependsOn": package["uses"]} for package in packages]
    return document(main_component, [component(package) for package in others], graph, "scripts/bill_of_materials.py")


def document(main_component: dict, components: list[dict], graph: list[dict], tool: str) -> dict:
    """A bill of materials. Its number is made from what it says, so that it is the same for the same sources."""
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": stamp(moment()),
            "component": main_component,
            "tools": {"components": [{"type": "application", "name": tool}]},
        },
        "components": components,
        "dependencies": graph,
    }
    return {**bill, "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, encoded(bill).decode()).urn}


def encoded(bill: dict) -> bytes:
    return json.dumps(bill, indent=1, sort_keys=True).encode() + b"\n"


def component(package: dict) -> dict:
    """A crate, as CycloneDX says it."""
    return {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "licenses": [{"expression": re.sub(r"\s*/\s*", " OR ", package["license"])}] if package["license"] else [],
        **({"hashes": [{"alg": "SHA-256", "content": package["checksum"]}]} if package["checksum"] else {}),
    }


def reference(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def linked(programs: tuple[str, ...]) -> list[dict]:
    """The packages of these programs without those of builds and tests."""
    known = metadata()
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    wanted = [identity for identity in known["workspace_members"] if packages[identity]["name"] in programs]

    def used(identity: str) -> list[str]:
        deps = (dep for dep in nodes[identity]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"]))
        # Macros are in the compiler, not in the program.
        return [dep["pkg"] for dep in deps if "proc-macro" not in packages[dep["pkg"]]["targets"][0]["kind"]]

    reached: set[str] = set()
    while wanted:
        identity = wanted.pop()
        if identity not in reached:
            reached.add(identity)
            wanted += used(identity)
    locked = checksums()
    found = [
        {
            "name": packages[identity]["name"],
            "version": packages[identity]["version"],
            "license": packages[identity]["license"],
            "checksum": locked.get((packages[identity]["name"], packages[identity]["version"])),
            "uses": sorted({reference(packages[other]) for other in used(identity)}),
        }
        for identity in reached
    ]
    return sorted(found, key=lambda package: (package["name"], package["version"]))


@functools.cache
def metadata() -> dict:
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version=1", f"--filter-platform={TARGET}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def checksums() -> dict[tuple[str, str], str]:
    """Those of Cargo.lock, by name and version."""
    entry = r'name = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]+)"'
    return {(name, version): checksum for name, version, checksum in re.findall(entry, (ROOT / "Cargo.lock").read_text())}


def moment() -> int:
    """When the sources are from: the one time that two builds of them share."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or said("git", "log", "-1", "--format=%ct") or 0)


def stamp(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def said(*command: str) -> str:
    """What a program says; nothing where it cannot."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    main()
