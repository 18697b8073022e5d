# SPDX-License-Identifier: Apache-2.0
"""The rows of the comparison: each runs one server and returns what was seen.

A row is a function (kit, make) -> dict, where make(model="tiny") gives a server that is not started
yet. What it returns goes to disk as it is; table.py makes sentences of it.
"""
import json
import subprocess
import threading
import time
from pathlib import Path

MB = 1 << 20
FULL, QUICK = "full", "quick"


class Kit:
    """What rows need beside a server: the client program, the models, how long to measure."""

    def __init__(self, client, models, size):
        self.client, self.models, self.size = client, Path(models), size

    def run(self, row, server, timeout=600, **args):
        words = [self.client, row, f"port={server.port}"] + [f"{k}={v}" for k, v in args.items()]
        out = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
        if out.returncode:
            raise RuntimeError(f"{' '.join(words)}: exit {out.returncode}: {out.stderr.strip()}")
        return json.loads(out.stdout)

    def pick(self, full, quick):
        return full if self.size == FULL else quick


def started(make, **args):
    server = make(**args).start()
    if not server.wait_ready():
        server.stop()
        raise RuntimeError(f"{server.name} did not get ready; see {server.log_path}")
    return server


def prompt_texts():
    return ["Hello there, the rain in", "Once upon a time the miller had an only", "Seven swans were swimming in the",
            "The train to the north leaves at", "Under the bridge an old heron", "What is the capital of",
            "In the end there were three of", "Better late than"]


# ---- the same work ----

def same(kit, make):
    """Greedy answers of 32 tokens, to be compared between the servers."""
    server = started(make)
    texts = []
    for prompt in prompt_texts():
        status, body = server.post("/v1/completions", {"model": "tiny", "prompt": prompt, "max_tokens": 32,
                                                       "temperature": 0, "ignore_eos": True})
        texts.append(json.loads(body)["choices"][0]["text"] if status == 200 else None)
    server.stop()
    return {"texts": texts}


# ---- load ----

def load(kit, make):
    server = started(make)
    kit.run("load", server, c=8, ms=500)  # caches and threads are warm
    before = {"rss": server.rss(), "files": server.files()}
    tokens, runs = server.generated(), []
    for c in (8, 64, 256, 512, 2000):
        r = kit.run("load", server, c=c, ms=kit.pick(2000, 1500))
        idle = server.wait_idle(30)
        now = server.generated()
        # 16 prompts are asked alone first.
        r["counted"] = None if now is None or tokens is None else now - tokens
        r["expected"] = 16 * (r["ok"] + 16)
        r["idle_after_s"] = idle
        tokens = now
        runs.append(r)
    time.sleep(0.2)
    after = {"rss": server.rss(), "files": server.files()}
    alive = server.alive()
    server.stop()
    return {"runs": runs, "before": before, "after": after, "peak_rss": server.max_rss, "alive": alive}


def live(kit, make):
    """One request at a time, beside clients that only hold connections."""
    out = []
    most = (("none", 0), ("idle", 5000), ("idle", 10000), ("bodies", 1000), ("bodies", 4000), ("heads", 2000))
    for kind, n in kit.pick(most, (("none", 0), ("idle", 10000), ("bodies", 1000))):
        server = started(make)
        kit.run("live", server, kind="none", requests=20)
        time.sleep(1)  # what those connections held is free again: llama-server has 1,003 threads for all
        rss = server.rss()
        r = kit.run("live", server, kind=kind, n=n, requests=kit.pick(200, 100), timeout_ms=10000)
        server.alive()
        r["rss"], r["peak_rss"] = rss, server.max_rss
        server.stop()
        out.append(r)
    return {"runs": out}


# ---- requests that do not come to their end ----

def leave(kit, make):
    server = started(make)
    out = []
    for stream in (1, 0):
        for _ in range(kit.pick(5, 2)):
            out.append(left(kit, server, 8, stream, kit.pick(60, 20)))
    if kit.size == FULL:
        out.append(left(kit, server, 200, 0, 60))
    server.stop()
    return {"runs": out}


def left(kit, server, n, stream, patience_s):
    """Tokens made for n clients that left: all that were made less those they received."""
    server.wait_idle(30)
    before = server.generated() or 0.0
    r = kit.run("leave", server, n=n, tokens=1500, stream=stream)
    r["stream"], r["idle_after_s"] = bool(stream), server.wait_idle(patience_s)
    after = server.generated()
    r["made"] = None if after is None else after - before - r["received"]
    return r


def prefill(kit, make):
    server = started(make)
    r = kit.run("prefill", server, rounds=kit.pick(20, 10))
    r["alive"] = server.alive()
    server.stop()
    return r


def stop(kit, make):
    out = []
    for n in kit.pick((8, 16, 32, 64), (64,)):
        server = started(make)
        waiter = threading.Thread(target=server.wait_exit, args=(25,))
        waiter.start()
        r = kit.run("stop", server, n=n, pid=server.p.pid, patience_ms=12000)
        waiter.join(timeout=max(0.0, r["seconds"] + 3))
        r["exit"] = server.exit
        r["exit_s"] = None if server.exit is None else server.ended - r["stop_us"] / 1e6
        if server.exit is None:
            server.p.kill()
        waiter.join()
        out.append(r)
    return {"runs": out}


# ---- what should be refused ----

def bad(kit, make):
    server = started(make)
    r = kit.run("bad", server)
    r["alive"], r["exit"] = server.alive(), server.exit
    server.stop()
    return r


def mutated(kit, make):
    """The series goes on with a new server where one has ended."""
    total, crashes, at = kit.pick(20000, 2000), [], 0
    sums = {}
    while at < total:
        server = started(make)
        r = kit.run("mutated", server, **{"from": at, "to": total}, timeout=900)
        at = r["next"]
        for k, v in r.items():
            if isinstance(v, (int, float)) and not isinstance(v, bool):
                sums[k] = sums.get(k, 0) + v
        if not server.alive() or not r["alive"]:
            crashes.append({"at": r["stopped_at"], "exit": server.exit})
        server.stop()
        if len(crashes) >= 20:
            break
    sums.update(n=at, crashes=crashes, notable=r["notable"])
    return sums


def big(kit, make):
    server = started(make)
    kit.run("live", server, kind="none", requests=20)
    before = server.rss()
    r = kit.run("big", server, mb=64)
    time.sleep(0.5)
    server.alive()
    r.update(rss_before=before, rss_after=server.rss(), rss_peak=server.max_rss,
             live=kit.run("live", server, kind="none", requests=20))
    server.stop()
    return r


# ---- files and limits ----

TEMPLATES = ("range", "loops", "doubling", "recursion", "parens", "lists", "blocks")
CAP_S, CAP_RSS = 5.0, 512 * MB  # a little longer is waited, to tell slow from over


def templates(kit, make):
    """Contained: within 5 s and 512 MB the file is refused in words, or the server is ready, a chat is
    answered with anything, and a completion meanwhile and afterwards with its text."""
    return {name: hostile(kit, make, f"hostile-{name}") for name in TEMPLATES}


def hostile(kit, make, model):
    server = make(model=model).start(address_space=12 << 30)
    r = {"ready": server.wait_ready(CAP_S + 1), "load_s": time.monotonic() - server.started}
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    plain = {"model": "tiny", "prompt": "Hello", "max_tokens": 4}
    if r["ready"]:
        box = {}

        def ask():
            begin = time.monotonic()
            status, body = server.post("/v1/chat/completions", chat, CAP_S + 1)
            box.update(chat=status, chat_s=time.monotonic() - begin, chat_body=body[:300])

        t = threading.Thread(target=ask)
        t.start()
        time.sleep(0.2)
        r["beside"] = server.post("/v1/completions", plain, CAP_S)[0]
        while t.is_alive():
            server.alive()
            time.sleep(0.02)
        r.update(box)
        r["after"] = server.post("/v1/completions", plain, CAP_S)[0]
    server.alive()
    r["exit"], r["peak_rss"] = server.exit, server.max_rss
    server.stop()
    r["peak_rss"] = max(r["peak_rss"], server.max_rss)
    r["contained"] = (r["peak_rss"] < CAP_RSS and
                      ((r["ready"] and r["load_s"] < CAP_S and r.get("chat", 0) > 0 and r["chat_s"] < CAP_S and
                        r["beside"] == r["after"] == 200) or
                       (not r["ready"] and r["exit"] is not None and r["exit"] > 0 and r["load_s"] < CAP_S)))
    return r


def memory(kit, make):
    """Starts in less and less address space. Ended by a signal is the one bad way to fail."""
    def attempt(size):
        server = make().start(address_space=size)
        ready = server.wait_ready(10)
        served = ready and server.post("/v1/completions", {"model": "tiny", "prompt": "Hello", "max_tokens": 4,
                                                           "temperature": 0}, 10)[0] == 200
        server.alive()
        r = {"mb": size / MB, "ready": ready, "served": served, "exit": server.exit}
        server.stop()
        return r

    runs = []
    for mb in (24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096):
        runs.append(attempt(mb * MB))
        if len(runs) > 2 and all(r["served"] for r in runs[-3:]):
            break
    return {"runs": runs}


def full_disk(kit, make):
    """Its log goes to a device that is always full."""
    server = make().start(output="/dev/full")
    r = {"ready": server.wait_ready(10)}
    if r["ready"]:
        r.update(kit.run("live", server, kind="none", requests=100))
    r["alive"] = server.alive()
    server.stop()
    return r


# name: (function, rounds in full, rounds in quick)
ROWS = {
    "same": (same, 1, 1),
    "load": (load, 5, 1),
    "live": (live, 2, 1),
    "leave": (leave, 1, 1),
    "prefill": (prefill, 1, 1),
    "stop": (stop, 1, 1),
    "bad": (bad, 1, 1),
    "mutated": (mutated, 1, 1),
    "big": (big, 2, 1),
    "templates": (templates, 1, 1),
    "memory": (memory, 1, 1),
    "full_disk": (full_disk, 1, 1),
}
