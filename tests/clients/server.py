# SPDX-License-Identifier: Apache-2.0
"""An `octavo serve` for tests. Standard library only."""
import json
import re
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class Server:
    def __init__(self, octavo, model, *flags):
        # Appended to, and read through another descriptor: reading must not move where it writes.
        self.log = tempfile.NamedTemporaryFile('ab')
        self.process = subprocess.Popen(
            [octavo, 'serve', model, '--port', '0', *flags],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.url = None
        end = time.monotonic() + 60
        while not self.url or not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError('octavo serve did not get ready:\n' + self.said())
            found = re.search(r'http://127\.0\.0\.1:(\d+)[,\s]', self.said())
            self.url = f'http://127.0.0.1:{found[1]}' if found else None
            time.sleep(0.02)

    def said(self):
        with open(self.log.name, 'rb') as f:
            return f.read().decode('utf-8', 'replace')

    def is_ready(self):
        try:
            return self.get('/ready')[0] == 200
        except OSError:
            return False

    def request(self, method, path, body=None, headers=None, timeout=30):
        """(status, headers, body)"""
        r = urllib.request.Request(
            self.url + path, method=method, headers=headers or {},
            data=json.dumps(body).encode() if body is not None else None)
        if body is not None:
            r.add_header('Content-Type', 'application/json')
        try:
            with urllib.request.urlopen(r, timeout=timeout) as a:
                return a.status, a.headers, a.read()
        except urllib.error.HTTPError as e:
            return e.code, e.headers, e.read()

    def get(self, path, **headers):
        return self.request('GET', path, headers=headers)

    def metric(self, name):
        """The sum over all labels."""
        text = self.get('/metrics')[2].decode()
        found = re.findall(rf'^{re.escape(name)}(?:{{.*}})? (\S+)$', text, re.M)
        return sum(float(v) for v in found)

    def stop(self):
        """The exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError('octavo serve did not stop:\n' + self.said())

    def kill(self):
        self.process.kill()
        self.process.wait()


def check(is_so, *what):
    """An assertion that says what it saw, and stays on under -O."""
    if not is_so:
        raise AssertionError(' '.join(str(w) for w in what))
