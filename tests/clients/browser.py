# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven by the DevTools protocol over a pipe. Standard library only."""
import base64
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time


def find():
    """The browser's program, or None."""
    for name in ('chromium-headless-shell', 'chromium', 'google-chrome'):
        if shutil.which(name):
            return shutil.which(name)
    return None


class Browser:
    """One browser with one page. Events that nobody waits for are kept in `events`."""

    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix='octavo-page-')
        to_browser, self.write_fd = os.pipe()
        self.read_fd, from_browser = os.pipe()

        def wire():
            # The protocol wants 3 and 4; copies first, for either may be one of the two already.
            a, b = os.dup(to_browser), os.dup(from_browser)
            os.dup2(a, 3)
            os.dup2(b, 4)

        args = [program, '--headless', '--remote-debugging-pipe', '--disable-gpu', '--no-first-run',
                '--disable-dev-shm-usage', '--hide-scrollbars', '--force-color-profile=srgb',
                '--disable-background-networking', '--disable-component-update', '--no-proxy-server',
                '--user-data-dir=' + self.profile, 'about:blank']
        if os.geteuid() == 0:
            args.insert(1, '--no-sandbox')  # Chromium's sandbox does not start as root
        self.process = subprocess.Popen(args, preexec_fn=wire, close_fds=False,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.number = 0
        self.session = None
        self.events = []
        self.inbox = queue.Queue()
        self.handlers = {}
        threading.Thread(target=self._read, daemon=True).start()
        target = next(t['targetId'] for t in self.call('Target.getTargets')['targetInfos']
                      if t['type'] == 'page')
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(domain + '.enable')

    def _read(self):
        rest = b''
        while True:
            got = os.read(self.read_fd, 1 << 16)
            if not got:
                self.inbox.put(None)
                return
            *whole, rest = (rest + got).split(b'\0')
            for m in whole:
                self.inbox.put(json.loads(m))

    def _send(self, method, params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.write_fd, json.dumps(message).encode() + b'\0')
        return self.number

    def _take(self, timeout):
        m = self.inbox.get(timeout=timeout)
        if m is None:
            raise RuntimeError('the browser has ended')
        if 'method' in m:
            self.events.append(m)
            handler = self.handlers.get(m['method'])
            if handler:
                handler(m['params'])
        return m

    def call(self, method, timeout=30, **params):
        """Sends one command and returns its result."""
        number = self._send(method, params)
        end = time.monotonic() + timeout
        while True:
            m = self._take(max(0.01, end - time.monotonic()))
            if m.get('id') == number:
                if 'error' in m:
                    raise RuntimeError(f"{method}: {m['error']['message']}")
                return m['result']

    def on(self, method, handler):
        """handler(params) for each such event; it may use post(), not call()."""
        self.handlers[method] = handler

    def post(self, method, **params):
        """Sends a command and does not wait for its result."""
        self._send(method, params)

    def js(self, expression):
        """The value of an expression in the page; promises are waited for."""
        r = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in r:
            raise RuntimeError(f"{expression}: {r['exceptionDetails']['exception'].get('description')}")
        return r['result'].get('value')

    def wait(self, expression, what, timeout=20):
        """Until the expression is true; its value."""
        end = time.monotonic() + timeout
        while True:
            v = self.js(expression)
            if v:
                return v
            if time.monotonic() > end:
                raise AssertionError(f'{what}: not so after {timeout} s ({expression})')
            time.sleep(0.05)

    def open(self, url):
        self.events.clear()
        self.call('Page.navigate', url=url)
        self.wait('document.readyState === "complete"', f'{url} is loaded')

    def type(self, text):
        self.call('Input.insertText', text=text)

    def key(self, key, code, text='', modifiers=0):
        base = {'key': key, 'code': key, 'windowsVirtualKeyCode': code, 'modifiers': modifiers}
        self.call('Input.dispatchKeyEvent', type='keyDown', text=text, **base)
        self.call('Input.dispatchKeyEvent', type='keyUp', **base)

    def size(self, width, height, mobile=False, scale=1):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=scale, mobile=mobile)

    def scheme(self, name):
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': name},
            {'name': 'prefers-reduced-motion', 'value': 'reduce'}])

    def screenshot(self, path):
        data = self.call('Page.captureScreenshot', format='png')['data']
        with open(path, 'wb') as f:
            f.write(base64.b64decode(data))

    def complaints(self):
        """What the page's console holds: exceptions, errors, refused loads."""
        out = []
        for e in self.events:
            p = e.get('params', {})
            if e.get('method') == 'Runtime.exceptionThrown':
                out.append(p['exceptionDetails'].get('exception', {}).get('description', 'exception'))
            elif e.get('method') == 'Log.entryAdded' and p['entry']['level'] in ('error', 'warning'):
                out.append(p['entry']['text'] + ' ' + p['entry'].get('url', ''))
            elif e.get('method') == 'Runtime.consoleAPICalled' and p['type'] in ('error', 'warning'):
                out.append(str([a.get('value') for a in p['args']]))
        return out

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)
