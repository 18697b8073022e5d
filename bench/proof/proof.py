# SPDX-License-Identifier: Apache-2.0
"""proof.py - runs the comparison and prints its table; bench/proof/proof.sh is the command to use.

Servers take turns: every round of a row runs one after the other, and which is first alternates.
Results go to --out as they come: ROW-ROUND-SERVER.json, the servers' logs, table.md. With
--table FOLDER nothing is run and the table is made again from such a folder.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import rows
from servers import LlamaServer, Octavo
from table import Table

ROOT = Path(__file__).resolve().parents[2]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
    with open("/proc/meminfo", encoding="ascii") as f:
        gib = int(f.readline().split()[1]) / (1 << 20)
    return f"{os.cpu_count()} cores of {cpu}, {gib:.0f} GiB, Linux {platform.release().split('-')[0]}"


def commit():
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False).stdout

    changed = git("status", "--porcelain", "--", "csrc", "cuda", "bench").strip()
    return git("rev-parse", "--short", "HEAD").strip() + (" with changes" if changed else "")


def describe(servers, args, load, seconds):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "machine": machine(),
        "versions": {s.name: s(program, "tiny", "/dev/null").version() for s, program in servers},
        "packages": args.packages,
        "size": args.size,
        "load_before": load,
        "seconds": seconds,
    }


def heading(about):
    busy = " **The machine was busy: take counts, not times.**" if about["load_before"] > 0.5 else ""
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    return (f"{about['date']}, commit {about['commit']}, {about['machine']}. {versions}"
            f"{' (' + about['packages'] + ')' if about['packages'] else ''}. Run: {about['size']}, "
            f"{about['seconds'] / 60:.0f} minutes; load before it {about['load_before']:.2f}.{busy}\n")


def run(args, servers):
    kit = rows.Kit(args.client, args.models, args.size)
    out, results = Path(args.out), {}
    for row in args.rows:
        function, *rounds = rows.ROWS[row]
        for i in range(rounds[0 if args.size == rows.FULL else 1]):
            for cls, program in servers if i % 2 == 0 else reversed(servers):
                stem = f"{row}-{i}-{cls.name}"

                def make(model="tiny", cls=cls, program=program, stem=stem):
                    return cls(program, str(kit.models / f"{model}.gguf"), str(out / f"{stem}.log"))

                begin = time.monotonic()
                try:
                    r = function(kit, make)
                except (RuntimeError, subprocess.TimeoutExpired, ValueError) as e:
                    r = {"failed": str(e)}
                    print(f"proof: {stem}: {e}", file=sys.stderr)
                print(f"proof: {stem} took {time.monotonic() - begin:.1f} s", file=sys.stderr, flush=True)
                (out / f"{stem}.json").write_text(json.dumps(r, indent=1) + "\n")
                results.setdefault(row, {}).setdefault(cls.name, []).append(r)
    return results


def read(folder):
    results = {}
    for path in sorted(Path(folder).glob("*-*.json")):
        row, _, name = path.stem.split("-", 2)
        results.setdefault(row, {}).setdefault(name, []).append(json.loads(path.read_text()))
    return results


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--octavo", help="the program octavo")
    p.add_argument("--llama", help="the program llama-server")
    p.add_argument("--client", help="the program proof_client")
    p.add_argument("--models", help="the folder that proof_models wrote")
    p.add_argument("--out", help="folder for results")
    p.add_argument("--packages", default="", help="what is said of the peer's packages")
    p.add_argument("--size", choices=(rows.FULL, rows.QUICK), default=rows.FULL)
    p.add_argument("--table", help="make the table of this folder again")
    p.add_argument("rows", nargs="*", help="some of: " + " ".join(rows.ROWS))
    args = p.parse_args()
    if args.table:
        about = json.loads((Path(args.table) / "about.json").read_text())
        print(heading(about) + "\n" + Table(read(args.table), list(about["versions"])).build(), end="")
        return 0
    unknown = [r for r in args.rows if r not in rows.ROWS]
    if unknown:
        p.error(f"no row is called {unknown[0]}; there are {' '.join(rows.ROWS)}")
    args.rows = args.rows or list(rows.ROWS)
    servers = [(c, path) for c, path in ((Octavo, args.octavo), (LlamaServer, args.llama)) if path]
    Path(args.out).mkdir(parents=True, exist_ok=True)
    load, begin = os.getloadavg()[0], time.monotonic()
    results = run(args, servers)
    about = describe(servers, args, load, time.monotonic() - begin)
    (Path(args.out) / "about.json").write_text(json.dumps(about, indent=1) + "\n")
    text = heading(about) + "\n" + Table(results, [c.name for c, _ in servers]).build()
    (Path(args.out) / "table.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
