# SPDX-License-Identifier: Apache-2.0
"""speed.py - tokens/s and time to the first token of servers on the demo model; bench/proof/speed.sh
is the command to use.

One round measures every configuration once, and the order turns round from one to the next. The load
is `octavo bench serve`'s, the same for all; no two measurements of a server share a prompt.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from proof import commit, machine
from servers import LlamaServer, Octavo
from table import spread

CONCURRENCY = (1, 8, 32)  # and 32 sequences of 1,024 tokens are what a server is told to hold


class SpeedOctavo(Octavo):
    def command(self):
        return [self.program, "serve", self.model, "--host", "127.0.0.1", "--port", str(self.port), "--threads",
                str(self.threads), "--max-num-seqs", "32", "--max-model-len", "1024", "--kv-cache-bytes", "800MiB",
                "--served-model-name", "tiny", *self.only_clients]


class SpeedLlama(LlamaServer):
    def command(self):
        return [self.program, "-m", self.model, "--host", "127.0.0.1", "--port", str(self.port), "-t",
                str(self.threads), "-tb", str(self.threads), "-np", "32", "-c", str(32 * 1024), "--metrics", "--offline"]


def measure(args, server, label, c, seed, out):
    """One measurement; the JSON of octavo bench serve."""
    n = {1: 4, 8: 16, 32: 64}[c]
    path = out / f"{label}-{seed}-{c}.json"
    words = [args.octavo, "bench", "serve", f"http://127.0.0.1:{server.port}", "--max-concurrency", str(c),
             "--num-prompts", str(n), "--num-warmups", "1", "--random-input-len", str(args.input), "--random-output-len",
             str(args.output), "--ignore-eos", "--seed", str(seed * 100 + c), "--label", label, "-o", str(path)]
    p = subprocess.run(words, capture_output=True, text=True, check=False)
    if p.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {p.returncode}: {p.stderr[-400:]}")
    return json.loads(path.read_text())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--octavo", required=True)
    p.add_argument("--llama", required=True)
    p.add_argument("--demo", required=True, help="the demo model")
    p.add_argument("--peer-model", action="append", default=[], help="LABEL=FILE for llama-server")
    p.add_argument("--out", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--input", type=int, default=64)
    p.add_argument("--output", type=int, default=128)
    args = p.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    sides = [("octavo", SpeedOctavo, args.octavo, args.demo)]
    for pair in args.peer_model:
        label, path = pair.split("=", 1)
        sides.append((f"llama-server {label}", SpeedLlama, args.llama, path))
    load, begin, seen = os.getloadavg()[0], time.monotonic(), {}
    for i in range(args.rounds):
        for label, cls, program, model in sides if i % 2 == 0 else reversed(sides):
            server = cls(program, model, str(out / f"{label}-{i}.log")).start()
            if not server.wait_ready(60):
                raise RuntimeError(f"{label} did not get ready; see {server.log_path}")
            for c in CONCURRENCY:
                r = measure(args, server, label.replace(" ", "-"), c, i, out)
                seen.setdefault((label, c), []).append(r)
                print(f"speed: round {i}, {label}, {c} at once: {figures(r)}", file=sys.stderr, flush=True)
            server.stop()
    text = report(sides, seen, load, time.monotonic() - begin, args)
    (out / "speed.md").write_text(text)
    print(text, end="")
    return 0


def figures(r):
    (point,) = r["points"]
    return {"tokens_per_s": point["output_throughput"], "ttft_p99_ms": point["p99_ttft_ms"], "done": point["completed"]}


def report(sides, seen, load, seconds, args):
    busy = " **The machine was busy: these are no figures.**" if load > 0.5 else ""
    lines = [f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, commit {commit()}, {machine()}. {args.rounds} rounds in "
             f"alternation, {args.input} tokens in, {args.output} out, two threads; {seconds / 60:.0f} minutes, load before "
             f"it {load:.2f}.{busy}", "",
             "| | " + " | ".join(f"tokens/s, {c} at once" for c in CONCURRENCY) + " | " +
             " | ".join(f"P99 TTFT ms, {c}" for c in CONCURRENCY) + " |",
             "|---" * (1 + 2 * len(CONCURRENCY)) + "|"]
    for label, *_ in sides:
        rows = [[figures(r) for r in seen[label, c]] for c in CONCURRENCY]
        cells = [spread([x["tokens_per_s"] for x in r]) for r in rows] + [spread([x["ttft_p99_ms"] for x in r]) for r in rows]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    for label, *_ in sides[1:]:
        ratios = []
        for c in CONCURRENCY:
            pairs = zip(seen["octavo", c], seen[label, c])
            ratios.append(f"{statistics.median(figures(a)['tokens_per_s'] / figures(b)['tokens_per_s'] for a, b in pairs):.2f}")
        lines.append(f"| octavo / {label} | " + " | ".join(ratios) + " |" + " |" * len(CONCURRENCY))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
