# SPDX-License-Identifier: Apache-2.0
"""Makes the table of the comparison out of what the rows saw.

Every line: promise, figure, what each server did, the goal of version 0.1, and whether Octavo met it.
Of several rounds a line shows the median and, where they differ, the smallest and largest.
"""
import statistics

from servers import signal_name

MB = 1 << 20


def number(v):
    return "-" if v is None else f"{v:,.0f}" if abs(v) >= 100 else f"{v:.2g}" if abs(v) < 1 else f"{v:.3g}"


def spread(values, unit=""):
    """Median (smallest-largest)."""
    have = [v for v in values if v is not None]
    if not have:
        return "no answer"
    text = number(statistics.median(have)) + unit
    if number(min(have)) != number(max(have)):
        text += f" ({number(min(have))}-{number(max(have))})"
    return text


class Table:
    def __init__(self, results, names):
        self.results, self.names, self.lines = results, names, []

    def rounds(self, row, name):
        return [r for r in self.results.get(row, {}).get(name, []) if "failed" not in r]

    def add(self, promise, figure, cell, goal="", met=None):
        """cell(name) -> text; met() -> bool of Octavo."""
        cells = []
        for name in self.names:
            try:
                cells.append(cell(name))
            except (IndexError, KeyError, TypeError, ValueError, statistics.StatisticsError):
                cells.append("not measured")
        word = ""
        if met and "octavo" in self.names and cells[self.names.index("octavo")] != "not measured":
            word = "yes" if met() else "**no**"
        self.lines.append([promise, figure, *cells, goal, word])

    def text(self):
        head = ["Promise", "Figure", *self.names, "Goal 0.1", "met"]
        rows = [head, ["---"] * len(head), *self.lines]
        return "\n".join("| " + " | ".join(r) + " |" for r in rows) + "\n"

    # ---- lines ----

    def same(self):
        if "same" not in self.results or len(self.names) < 2:
            return
        a, b = (self.rounds("same", n)[0]["texts"] for n in self.names[:2])
        equal = sum(x == y and x is not None for x, y in zip(a, b))
        apart = [next((i for i, (p, q) in enumerate(zip(x or "", y or "")) if p != q), None)
                 for x, y in zip(a, b) if x != y]
        note = f"{equal} of {len(a)} the same" + (f"; else apart after {apart} characters" if apart else "")
        self.add("The same work", "greedy answers of 32 tokens, both servers", lambda n: note)

    def load(self):
        def runs(name, c):
            return [x for r in self.rounds("load", name) for x in r["runs"] if x["c"] == c]

        for c in (8, 64, 512, 2000):
            goals = {8: 1500, 64: 1500, 512: 1500}
            self.add("Load held", f"requests/s of 16 tokens, {c:,} connections",
                     lambda n, c=c: spread([x["req_per_s"] for x in runs(n, c)]),
                     f">= {goals[c]:,}" if c in goals else "",
                     (lambda c=c: statistics.median(x["req_per_s"] for x in runs("octavo", c)) >= goals[c])
                     if c in goals else None)
        self.add("Fair", "p99/p50 at 256 connections",
                 lambda n: spread([x["p99_ms"] / x["p50_ms"] for x in runs(n, 256)]), "<= 10",
                 lambda: statistics.median(x["p99_ms"] / x["p50_ms"] for x in runs("octavo", 256)) <= 10)
        for c in (8, 256, 2000):
            self.add("Fair", f"p50 / p99 at {c:,}, ms",
                     lambda n, c=c: f"{spread([x['p50_ms'] for x in runs(n, c)])} / "
                                    f"{spread([x['p99_ms'] for x in runs(n, c)])}")

        def every(name):
            return [x for r in self.rounds("load", name) for x in r["runs"]]

        self.add("Nothing lost", "requests without an answer, of all that were sent",
                 lambda n: f"{sum(x['lost'] for x in every(n)):,} of {sum(x['sent'] for x in every(n)):,}", "0",
                 lambda: sum(x["lost"] + x["wrong"] + x["errors"] for x in every("octavo")) == 0)
        self.add("Nothing lost", "runs in which the server counted the tokens that the client got",
                 lambda n: f"{sum(x['counted'] == x['expected'] for x in every(n))} of {len(every(n))}", "all",
                 lambda: all(x["counted"] == x["expected"] for x in every("octavo")))
        self.add("Same answer", "answers that differ from the one given alone",
                 lambda n: f"{sum(x['other_text'] for x in every(n)):,} of {sum(x['ok'] for x in every(n)):,}", "0",
                 lambda: sum(x["other_text"] for x in every("octavo")) == 0)
        self.add("Memory", "MB before / after the load / most; files before / after",
                 lambda n: "; ".join(sorted({
                     f"{r['before']['rss'] / MB:.0f} / {r['after']['rss'] / MB:.0f} / {r['peak_rss'] / MB:.0f}; "
                     f"{r['before']['files']} / {r['after']['files']}" for r in self.rounds("load", n)[-1:]})))

    def live(self):
        def runs(name, kind, count):
            return [x for r in self.rounds("live", name) for x in r["runs"] if x["kind"] == kind and x["n"] == count]

        def cell(name, kind, count):
            r = runs(name, kind, count)
            text = f"{spread([x['p50_ms'] for x in r])} / {spread([x['p99_ms'] for x in r])}"
            lost = sum(x["sent"] - x["ok"] for x in r)
            if lost:
                text += f"; {lost} of {sum(x['sent'] for x in r)} not answered"
            if any(x["opened"] < x["n"] for x in r):
                text += f"; only {min(x['opened'] for x in r):,} could connect"
            return text

        def met(kind, count, limit):
            r = runs("octavo", kind, count)
            return all(x["p99_ms"] is not None and x["p99_ms"] <= limit and x["sent"] == x["ok"] for x in r)

        for promise, kind, count, limit in (
                ("Idle connections", "none", 0, None), ("Idle connections", "idle", 5000, None),
                ("Idle connections", "idle", 10000, 50), ("Slow senders", "bodies", 1000, 50),
                ("Slow senders", "bodies", 4000, None), ("Slow senders", "heads", 2000, None)):
            words = {"none": "with no other client", "idle": f"beside {count:,} idle connections",
                     "bodies": f"beside {count:,} half-sent bodies", "heads": f"beside {count:,} half-sent heads"}
            if not any(runs(n, kind, count) for n in self.names):
                continue
            self.add(promise, f"live p50 / p99 {words[kind]}, ms",
                     lambda n, k=kind, c=count: cell(n, k, c), f"p99 <= {limit}" if limit else "",
                     (lambda k=kind, c=count, m=limit: met(k, c, m)) if limit else None)
        if any(runs(n, "idle", 10000) for n in self.names):
            self.add("Idle connections", "memory for each of 10,000, KB",
                     lambda n: spread([(x["peak_rss"] - x["rss"]) / 10000 / 1024 for x in runs(n, "idle", 10000)]))

    def leave(self):
        def runs(name, stream, count):
            return [x for r in self.rounds("leave", name) for x in r["runs"]
                    if x["stream"] == stream and x["n"] == count]

        def share(x):
            return None if x["made"] is None else 100 * x["made"] / x["asked"]

        def cell(name, stream, count):
            r = runs(name, stream, count)
            if any(x["made"] is None or x["idle_after_s"] is None for x in r):
                return "still busy with them when it was given up"
            return (f"{spread([x['made'] for x in r])} of {r[0]['asked']:,} "
                    f"({statistics.median(share(x) for x in r):.1f} %)")

        for stream, count, goal in ((True, 8, 5), (False, 8, 5), (False, 200, None)):
            if not any(runs(n, stream, count) for n in self.names):
                continue
            self.add("Clients that leave",
                     f"tokens made for {count} that left, {'streaming' if stream else 'not streaming'}",
                     lambda n, s=stream, c=count: cell(n, s, c), f"<= {goal} %" if goal else "",
                     (lambda s=stream, c=count, g=goal: all(
                         share(x) is not None and share(x) <= g for x in runs("octavo", s, c))) if goal else None)

    def prefill(self):
        def rs(name):
            return self.rounds("prefill", name)

        self.add("Abort during another's prefill", "others answered in full",
                 lambda n: f"{sum(x['others_done'] for x in rs(n))} of {sum(x['others'] for x in rs(n))}", "100 %",
                 lambda: all(x["others_done"] == x["others"] for x in rs("octavo")))

    def stop(self):
        def runs(name):
            return [x for r in self.rounds("stop", name) for x in r["runs"]]

        self.add("Stop", "in flight at SIGTERM: answered in full + told of an error, of all",
                 lambda n: f"{sum(x['full'] for x in runs(n))} + {sum(x['told'] for x in runs(n))} of "
                           f"{sum(x['in_flight'] for x in runs(n))}", "100 %",
                 lambda: all(x["full"] + x["told"] == x["in_flight"] for x in runs("octavo")))

        def ends(name):
            words = []
            for x in runs(name):
                code = "still there" if x["exit"] is None else f"code {x['exit']}" if x["exit"] >= 0 else signal_name(x["exit"])
                words.append(code if x["exit_s"] is None else f"{code} after {x['exit_s']:.1f} s")
            codes = {w.split(" after")[0] for w in words}
            times = [x["exit_s"] for x in runs(name) if x["exit_s"] is not None]
            return ", ".join(sorted(codes)) + (f"; {spread(times, ' s')}" if times else "")

        self.add("Stop", "how the process ended", ends, "code 0", lambda: all(x["exit"] == 0 for x in runs("octavo")))

    def bad(self):
        def r(name):
            return self.rounds("bad", name)[0]

        for key, what in (("bodies", "odd bodies"), ("raw", "raw bytes in place of HTTP")):
            self.add("Bad requests", f"{what}: refused or allowed / wrongly accepted / 5xx / no answer",
                     lambda n, k=key: f"{r(n)[k]['refused']} / {r(n)[k]['accepted']} / {r(n)[k]['5xx']} / "
                                      f"{r(n)[k]['unanswered']} of {r(n)[k]['n']}", "0 accepted, 0 5xx",
                     lambda k=key: r("octavo")[k]["refused"] == r("octavo")[k]["n"])

    def mutated(self):
        def r(name):
            return self.rounds("mutated", name)[0]

        self.add("Bad requests", "crashes on damaged bodies",
                 lambda n: f"{len(r(n)['crashes'])} of {r(n)['n']:,}", "0 of 20,000",
                 lambda: not r("octavo")["crashes"] and r("octavo")["5xx"] == 0)
        self.add("Bad requests", "damaged bodies: 400s / 200 / 200 to what is no JSON / 5xx / no answer in 10 s",
                 lambda n: f"{r(n)['4xx']:,} / {r(n)['200']:,} / {r(n)['200_not_json']:,} / {r(n)['5xx']:,} / "
                           f"{r(n)['unanswered']:,}")

    def big(self):
        def rs(name):
            return self.rounds("big", name)

        self.add("Big body", "64 MB prompt: answer, seconds; MB before / most / after",
                 lambda n: f"{rs(n)[0]['status'] or rs(n)[0]['end']}, {spread([x['seconds'] for x in rs(n)], ' s')}; "
                           f"{rs(n)[0]['rss_before'] / MB:.0f} / {rs(n)[0]['rss_peak'] / MB:.0f} / "
                           f"{rs(n)[0]['rss_after'] / MB:.0f}", "413 in <= 1 s, +0 MB",
                 lambda: all(x["status"] == 413 and x["seconds"] <= 1 and x["rss_peak"] - x["rss_before"] < 2 * MB
                             for x in rs("octavo")))

    def templates(self):
        def word(x):
            if x["contained"]:
                return "contained"
            if x["exit"] is not None and x["exit"] < 0:
                return signal_name(x["exit"])
            if not x["ready"]:
                return f"exit {x['exit']} after {x['load_s']:.1f} s" if x["exit"] is not None else "hangs at load"
            if x.get("chat", 0) == 0:
                return "hangs a chat"
            if not x["beside"] == x["after"] == 200:
                return "others not served"
            return f"{x['peak_rss'] / MB:.0f} MB"

        def cell(name):
            r = self.rounds("templates", name)[0]
            bad = [f"{k}: {word(v)}" for k, v in r.items() if not v["contained"]]
            return f"{len(r) - len(bad)} of {len(r)}" + (f" ({'; '.join(bad)})" if bad else "")

        self.add("Hostile templates", "files contained in 5 s and 512 MB", cell, "7",
                 lambda: all(v["contained"] for v in self.rounds("templates", "octavo")[0].values()))

    def memory(self):
        def r(name):
            return self.rounds("memory", name)[0]

        def failing(name):
            return [x for x in r(name)["runs"] if not x["served"]]

        def signals(name):
            return sum(x["exit"] is not None and x["exit"] < 0 for x in failing(name))

        def silent(name):
            return sum(x["exit"] is None for x in failing(name))

        self.add("Little memory", "starts that fail in 24 MB of address space and up: by a signal / without an end",
                 lambda n: f"{signals(n)} / {silent(n)} of {len(failing(n))}; serves in "
                           f"{min((x['mb'] for x in r(n)['runs'] if x['served']), default=0):.0f} MB", "0 / 0",
                 lambda: signals("octavo") == 0 and silent("octavo") == 0)

    def full_disk(self):
        self.add("Full disk", "requests answered while the log cannot be written",
                 lambda n: f"{self.rounds('full_disk', n)[0].get('ok', 0)} of 100", "all",
                 lambda: self.rounds("full_disk", "octavo")[0].get("ok") == 100)

    def build(self):
        for row in ("same", "load", "live", "leave", "prefill", "stop", "bad", "mutated", "big", "templates",
                    "memory", "full_disk"):
            if row in self.results:
                getattr(self, row)()
        return self.text()
