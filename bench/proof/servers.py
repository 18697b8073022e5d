# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared: how each is started, asked for its counters, and ended.

A server is told to hold 8 sequences of 2,048 tokens and to compute on two threads; everything else
is its default. Its log goes to a file; its process is a child of ours, so how it ended is known.
"""
import atexit
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time

SEQUENCES, TOKENS_EACH, THREADS = 8, 2048, 2
ours = set()  # processes that still run


def end_all():
    for p in list(ours):
        p.kill()


atexit.register(end_all)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that end_all runs


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """One process. Subclasses say how it is started and what its counters are called."""

    name = ready_path = ""

    def __init__(self, program, model, log, port=None, threads=THREADS):
        self.program, self.model, self.log_path, self.threads = program, model, log, threads
        self.port = port or free_port()
        self.exit = None  # as subprocess says it: below 0, the signal
        self.max_rss = 0

    def start(self, address_space=None, output=None):
        def limits():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if address_space:
                resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))

        with open(output or self.log_path, "ab") as log:
            self.p = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                      preexec_fn=limits, env=self.environment())
        ours.add(self.p)
        self.started = time.monotonic()
        return self

    def environment(self):
        return {k: v for k, v in os.environ.items() if not k.startswith(("OCTAVO_", "LLAMA_", "GGML_"))}

    def alive(self):
        """Whether it runs; notes how it ended and what it needed."""
        if self.exit is None:
            status = proc_status(self.p.pid)
            self.max_rss = max(self.max_rss, status.get("VmHWM", 0))
            done, code, usage = os.wait4(self.p.pid, os.WNOHANG)
            if done:
                self.note_exit(code, usage)
        return self.exit is None

    def note_exit(self, code, usage):
        self.exit = os.waitstatus_to_exitcode(code)
        self.ended = time.monotonic()
        self.p.returncode = self.exit  # Popen need not wait for it
        self.max_rss = max(self.max_rss, usage.ru_maxrss * 1024)
        ours.discard(self.p)

    def wait_exit(self, seconds):
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            time.sleep(0.005)
        return self.exit

    def get(self, path, timeout=5.0):
        return self.ask("GET", path, None, timeout)

    def post(self, path, body, timeout=15.0):
        return self.ask("POST", path, json.dumps(body), timeout)

    def ask(self, method, path, body, timeout):
        """(status, text); status 0: no answer."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            c.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            r = c.getresponse()
            return r.status, r.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            c.close()

    def wait_ready(self, seconds=30.0):
        until = time.monotonic() + seconds
        while self.alive() and time.monotonic() < until:
            if self.get(self.ready_path, 1.0)[0] == 200:
                return True
            time.sleep(0.02)
        return False

    def stop(self):
        if self.exit is None:
            self.p.kill()
            self.wait_exit(10)

    def rss(self):
        return proc_status(self.p.pid).get("VmRSS", 0)

    def files(self):
        try:
            return len(os.listdir(f"/proc/{self.p.pid}/fd"))
        except OSError:
            return 0

    def metrics(self, timeout=5.0):
        """Name to the sum over its labels; {} if it does not say."""
        status, text = self.get("/metrics", timeout)
        sums = {}
        for line in text.splitlines() if status == 200 else []:
            m = re.match(r"([A-Za-z_:][\w:]*)(\{.*\})? (\S+)", line)
            if m:
                sums[m[1]] = sums.get(m[1], 0.0) + float(m[3])
        return sums

    def generated(self):
        return self.metrics().get(self.tokens_metric)

    def wait_idle(self, seconds):
        """Until nothing runs or waits; how long that took, None: it did not come to that."""
        begin = time.monotonic()
        while time.monotonic() < begin + seconds and self.alive():
            m = self.metrics(2.0)
            if m and sum(m.get(x, 0.0) for x in self.busy_metrics) == 0:
                return time.monotonic() - begin
            time.sleep(0.02)
        return None


class Octavo(Server):
    name, ready_path = "octavo", "/ready"
    tokens_metric = "vllm:generation_tokens_total"
    busy_metrics = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    # 8 x 2,048 tokens of the tiny model are 8 MiB; one page beside them.
    tiny = ["--kv-cache-bytes", "9MiB", "--max-connections", "16000"]
    only_clients = ["--self-test-interval", "0"]  # whose tokens are counted here

    def command(self):
        extra = self.tiny if "tiny" in self.model or "hostile" in self.model else []
        return [self.program, "serve", self.model, "--host", "127.0.0.1", "--port", str(self.port),
                "--threads", str(self.threads), "--max-num-seqs", str(SEQUENCES), "--max-model-len",
                str(TOKENS_EACH), "--served-model-name", "tiny", *self.only_clients, *extra]

    def version(self):
        out = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        return out.stdout.strip().splitlines()[0]


class LlamaServer(Server):
    name, ready_path = "llama-server", "/health"
    tokens_metric = "llamacpp:tokens_predicted_total"
    busy_metrics = ("llamacpp:requests_processing", "llamacpp:requests_deferred")

    def command(self):
        return [self.program, "-m", self.model, "--host", "127.0.0.1", "--port", str(self.port), "-t",
                str(self.threads), "-tb", str(self.threads), "-np", str(SEQUENCES), "-c",
                str(SEQUENCES * TOKENS_EACH), "--metrics", "--offline"]

    def version(self):
        out = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        m = re.search(r"version: (.*)", out.stdout + out.stderr)
        return m[1] if m else "?"


def proc_status(pid):
    """Sizes of /proc/PID/status in bytes."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            return {k: int(v) * 1024 for k, v in re.findall(r"^(Vm\w+):\s+(\d+) kB", f.read(), re.M)}
    except OSError:
        return {}


def signal_name(code):
    return signal.Signals(-code).name if code is not None and code < 0 else str(code)
