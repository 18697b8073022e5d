#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The corpus of injected bugs, tests/sim/bugs/*.bug: each a small edit of the engine's sources.

    sim_bugs.py check              every edit applies (its old text stands exactly once in its file)
    sim_bugs.py apply BUG DIR      write the edited copies of the files BUG changes below DIR
    sim_bugs.py twin [BUG ...]     build the scheduler's slow-twin test with each bug: it must fail

A .bug file: first line `# one sentence: what the bug is`, then, where the simulation cannot see it, a
line `# twin only: why`, then one or more edits:

    file: csrc/engine/sched.c
    --- old
    text, whole lines
    --- new
    text, may be empty
    --- end

An edit that no longer applies is an error: rewrite it for the code as it is, or replace the bug.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUGS = ROOT / "tests" / "sim" / "bugs"
ROOM = "pages prefix sched sched_check sched_pick sched_queue".split()
BASE = "fault hash mem status".split()


class Wrong(Exception):
    pass


def parse(path):
    """The sentence and the edits [(file, old, new)] of one .bug file."""
    lines = path.read_text().split("\n")
    if not lines[0].startswith("# "):
        raise Wrong(f"{path.name}: the first line must be `# one sentence`")
    edits, state, name, old, new = [], None, None, [], []
    for number, line in enumerate(lines[1:], 2):
        if state is None and line.startswith("file: "):
            name = line[6:].strip()
        elif state is None and line == "--- old" and name:
            state, old, new = "old", [], []
        elif state == "old" and line == "--- new":
            state = "new"
        elif state == "new" and line == "--- end":
            edits.append((name, "".join(x + "\n" for x in old), "".join(x + "\n" for x in new)))
            state = None
        elif state == "old":
            old.append(line)
        elif state == "new":
            new.append(line)
        elif line.strip() and not line.startswith("# twin only: "):
            raise Wrong(f"{path.name}:{number}: not expected here: {line}")
    if state or not edits:
        raise Wrong(f"{path.name}: an edit without its end, or no edit")
    return lines[0][2:], edits


def edited(path):
    """{file: new text} of one bug."""
    texts = {}
    for name, old, new in parse(path)[1]:
        if ".." in name or not (ROOT / name).is_file():
            raise Wrong(f"{path.name}: no file {name}")
        text = texts.get(name) or (ROOT / name).read_text()
        found = text.count(old)
        if found != 1 or old == new:
            raise Wrong(f"{path.name}: its old text stands {found} times in {name}:\n{old}")
        texts[name] = text.replace(old, new)
    return texts


def find(name):
    found = [p for p in sorted(BUGS.glob("*.bug")) if p.stem == name or p.stem.split("_")[0] == name]
    if len(found) != 1:
        raise Wrong(f"no bug {name} in {BUGS.relative_to(ROOT)}")
    return found[0]


def apply(path, where):
    for name, text in edited(path).items():
        to = pathlib.Path(where) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        if not to.is_file() or to.read_text() != text:
            to.write_text(text)


def source(where, name):
    copy = pathlib.Path(where) / name
    return str(copy if copy.is_file() else ROOT / name)


def twin(path, seeds):
    """How the slow-twin test ends with this bug: None: it passed."""
    with tempfile.TemporaryDirectory() as where:
        apply(path, where)
        program = os.path.join(where, "twin")
        names = [f"csrc/engine/{f}.c" for f in ROOM] + [f"csrc/base/{f}.c" for f in BASE]
        names += ["tests/engine/test_sched_twin.c", "tests/engine/sched_twin.c"]
        include = [f"-I{where}/csrc", f"-I{ROOT}/csrc", f"-I{ROOT}/cuda", f"-I{ROOT}/tests"]
        criterion = subprocess.run(["pkg-config", "--cflags", "--libs", "criterion"], check=True,
                                   capture_output=True, text=True).stdout.split()
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-O1", "-w", "-D_GNU_SOURCE",
                        "-DOCT_FAULTS=1", '-DOCT_VERSION="bug"', *include,
                        *[source(where, n) for n in names], "-o", program, *criterion], check=True)
        env = dict(os.environ, OCT_SCHED_SEED="1", OCT_SCHED_SEEDS=str(seeds))
        try:
            run = subprocess.run([program, "--timeout", "100"], env=env, capture_output=True,
                                 text=True, errors="replace", timeout=120)
        except subprocess.TimeoutExpired:
            return "it does not end"
        if run.returncode == 0:
            return None
        said = re.search(r"(seed \d+.*|.*assert.*|.*crash.*|.*imeout.*)", run.stdout + run.stderr,
                         re.IGNORECASE)
        return said.group(1).strip()[:150] if said else f"exit {run.returncode}"


def main(args):
    if args[:1] == ["check"] and len(args) == 1:
        paths = sorted(BUGS.glob("*.bug"))
        for path in paths:
            edited(path)
        print(f"{len(paths)} bugs apply")
    elif args[:1] == ["apply"] and len(args) == 3:
        apply(find(args[1]), args[2])
    elif args[:1] == ["twin"]:
        missed = 0
        engine = tuple(f"csrc/engine/{f}" for f in ROOM)
        for path in [find(a) for a in args[1:]] or sorted(BUGS.glob("*.bug")):
            if not all(name.rsplit(".", 1)[0] in engine + ("csrc/engine/sched_int",)
                       for name, _, _ in parse(path)[1]):
                print(f"-       {path.stem}: not in the scheduler")
                continue
            how = twin(path, 1000)
            missed += how is None
            print(f"{'caught' if how else 'MISSED'}  {path.stem}: {how or 'the twin test passes'}",
                  flush=True)
        if missed:
            raise Wrong(f"{missed} bugs were not caught")
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Wrong as e:
        print(f"sim_bugs.py: {e}", file=sys.stderr)
        sys.exit(1)
