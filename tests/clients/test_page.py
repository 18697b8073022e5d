# SPDX-License-Identifier: Apache-2.0
"""The page at / in a headless Chromium, on a real server: it shows the state, answers prompts, says
what goes wrong, works by keyboard, in both colour schemes and on a phone, and takes nothing a model
writes for markup.

    test_page.py OCTAVO MODEL [SCREENSHOT.png]

With a third argument it writes the picture of the documentation."""
import base64
import json
import random
import re
import sys
import threading
import time

from browser import Browser, find
from server import Server, check

PICTURE = ('--served-model-name', 'SmolLM2-135M-Instruct', '--max-model-len', '1024',
           '--kv-cache-bytes', '64MiB', '--max-num-seqs', '16')
MARKUP = '<img src=x onerror="document.title=1"><script>document.title=2</script>&lt;'


def served(server):
    """What comes over the wire, without a browser."""
    status, headers, body = server.get('/', Accept='text/html,*/*')
    check(status == 200 and headers['Content-Type'].startswith('text/html'), status, headers)
    check(len(body) < 60_000, len(body), 'bytes')
    policy = headers['Content-Security-Policy']
    check("default-src 'none'" in policy and 'unsafe' not in policy, policy)
    outside = re.findall(rb'(?:src|href)\s*=\s*"?(?:https?:)?//[^">]*|url\([^)]*\)|@import', body)
    check(not outside, 'from outside:', outside)
    status, headers, body = server.get('/', Accept='*/*')
    check(status == 200 and body == b'Ollama is running', status, body)
    check(server.request('HEAD', '/')[0] == 200)


def text(b, id):
    return b.js(f'document.getElementById({json.dumps(id)}).textContent')


def ask(b, prompt):
    b.js('document.getElementById("prompt").focus()')
    b.type(prompt)
    b.key('Enter', 13, '\r')


def answered(b, n, timeout=60):
    b.wait(f'document.querySelectorAll("article").length === {n} && !document.querySelector(".busy")',
           f'answer {n} is there', timeout)
    return b.js('(() => { const a = document.querySelector("article:last-child");'
                ' return {text: a.querySelector(".text").textContent,'
                ' note: a.querySelector(".foot span").textContent,'
                ' error: a.querySelector(".error").hidden ? "" : a.querySelector(".error").textContent,'
                ' thought: a.querySelector(".reason").hidden ? "" : a.querySelector(".reason div").textContent};'
                '})()')


def sent(b):
    """The bodies of the chat requests so far."""
    return [json.loads(e['params']['request']['postData']) for e in b.events
            if e.get('method') == 'Network.requestWillBeSent'
            and e['params']['request']['url'].endswith('/v1/chat/completions')]


def state(b):
    b.wait('document.getElementById("state").textContent === "Ready"', 'the state is shown')
    b.wait('document.getElementById("model").textContent.length > 0 &&'
           ' document.title.includes(document.getElementById("model").textContent)', 'the model is named')
    check(b.js('document.getElementById("banner").hidden'), text(b, 'banner'))


def talk(b):
    """Two turns by keyboard, a stop, a reload that keeps them, a new conversation."""
    b.js('for (const [id, v] of [["max-tokens", "12"], ["temperature", "0"]]) {'
         ' const e = document.getElementById(id); e.value = v;'
         ' e.dispatchEvent(new Event("change")); }')
    ask(b, 'What is the capital of France? ' + MARKUP)
    a = answered(b, 1)
    check(a['text'] and not a['error'], a)
    check(re.fullmatch(r'first token [\d.]+ m?s · [\d.]+ tokens/s · \d+ tokens( · cut off at max tokens)?',
                       a['note']), a['note'])
    ask(b, 'And of Italy?')
    check(answered(b, 2)['text'])
    bodies = sent(b)
    check(len(bodies) == 2 and [m['role'] for m in bodies[1]['messages']] == ['user', 'assistant', 'user'],
          bodies)
    check(bodies[1]['max_tokens'] == 12 and bodies[1]['temperature'] == 0 and bodies[1]['stream'],
          bodies[1])
    check(bodies[1]['messages'][1]['content'].split()[0] == a['text'].split()[0], bodies[1], a)

    b.js('document.getElementById("max-tokens").value = "1500"')
    ask(b, 'Write a long story about a dragon who flies from Paris to Rome.')
    b.wait('document.querySelector(".busy .text")?.textContent.length > 20', 'the answer streams')
    b.key('Escape', 27)
    check('stopped by you' in answered(b, 3)['note'], answered(b, 3))

    b.call('Page.reload')
    b.wait('document.readyState === "complete" && document.querySelectorAll("article").length === 3',
           'the conversation is kept')
    state(b)
    b.js('document.getElementById("new").click()')
    check(b.js('document.querySelectorAll("article").length') == 0)


def numbers(b, server):
    """What is shown is what /metrics says."""
    while server.metric('vllm:num_requests_running') > 0:  # the one that was stopped
        time.sleep(0.05)
    output = server.metric('vllm:generation_tokens_total')
    b.wait('[...document.querySelectorAll("#totals div")].some((d) => d.firstChild.textContent ==='
           f' "Output tokens" && d.lastChild.textContent === "{output:.0f}")',
           f'{output:.0f} output tokens are shown')
    for row in (1, 2, 3):
        b.wait(f'/\\d m?s$/.test(document.querySelector("#latency tr:nth-child({row}) td:nth-child(5)").textContent)',
               f'P99 of row {row}')
    b.wait('document.querySelector("#c-speed .s0").getAttribute("d").length > 20', 'a line is drawn')
    check('Output' in b.js('document.querySelector("#c-speed svg").getAttribute("aria-label")'))
    box = b.js('(() => { const r = document.querySelector("#c-speed .plot").getBoundingClientRect();'
               ' return [r.left + r.width * 0.9, r.top + r.height / 2]; })()')
    b.call('Input.dispatchMouseEvent', type='mouseMoved', x=box[0], y=box[1])
    b.wait('!document.querySelector("#c-speed .tip").hidden', 'a value under the pointer')


def answer_with(b, status, body, headers=(), type='application/json'):
    """The next chat requests are answered so, by the browser."""
    def handle(p):
        b.post('Fetch.fulfillRequest', requestId=p['requestId'], responseCode=status,
               responseHeaders=[{'name': k, 'value': v} for k, v in [('Content-Type', type), *headers]],
               body=base64.b64encode(body.encode()).decode())
    b.on('Fetch.requestPaused', handle)
    b.call('Fetch.enable', patterns=[{'urlPattern': '*/v1/chat/completions'}])


def stream(*deltas, end='data: [DONE]\n\n'):
    out = ''.join('data: ' + json.dumps({'choices': [{'index': 0, 'delta': d, 'finish_reason': None}]})
                  + '\n\n' for d in deltas)
    return out + end


def trouble(b):
    """What a server or a model may send, and the sentence it becomes."""
    n = 0
    for status, body, headers, words in (
            (401, '{"error":{"message":"no key"}}', (), 'asks for an API key'),
            (429, '{"error":{"message":"full"}}', (('Retry-After', '7'),), 'Try again in 7 seconds'),
            (503, '{"error":{"message":"the model is being loaded"}}', (), 'the model is being loaded'),
            (400, json.dumps({'error': {'message': 'max_tokens ' + MARKUP}}), (), MARKUP),
            (500, 'not even JSON', (), 'not even JSON'),
            (502, '', (), '502')):
        answer_with(b, status, body, headers)
        ask(b, 'hello')
        n += 1
        a = answered(b, n)
        check(words in a['error'] and not a['text'], status, a)
    for body, text_, error in (
            (stream({'reasoning_content': 'first I think ' + MARKUP}, {'content': MARKUP},
                    {'content': '\n```html\n' + MARKUP + '\n```\n**bold**'}), MARKUP, ''),
            (stream({'content': 'half'}, end=''), 'half', 'broke before'),
            (stream({'content': 'half'}, end='data: {"error": {"message": "the device failed"}}\n\n'),
             'half', 'the device failed')):
        answer_with(b, 200, body, type='text/event-stream')
        ask(b, 'hello')
        n += 1
        a = answered(b, n)
        check(text_ in a['text'] and error in a['error'] and bool(error) == bool(a['error']), a)
        if not error:
            check('first I think ' + MARKUP == a['thought'], a)
            check(not b.js('document.querySelector("article:last-child .reason").open'))
            check(b.js('document.querySelectorAll("article:last-child pre, article:last-child strong").length') == 2)
    check(b.js('document.querySelectorAll("#log img, #log script").length') == 0)
    check('Octavo' in b.js('document.title'), b.js('document.title'))
    b.call('Fetch.disable')
    # an answer that failed can be asked for again, and failed turns are not told to the model
    before = len(sent(b))
    b.js('document.getElementById("max-tokens").value = "4";'
         'document.querySelector("article:last-child").querySelectorAll("button")[1].click()')
    a = answered(b, n)
    check(a['text'] and not a['error'], a)
    roles = [m['role'] for m in sent(b)[before]['messages']]
    check(roles == ['user', 'assistant', 'user', 'assistant', 'user'], roles)
    b.js('document.getElementById("new").click()')


def access(b):
    """Names for everything that takes the focus; everything is reached by Tab."""
    nodes = b.call('Accessibility.getFullAXTree')['nodes']
    nameless = [n['role']['value'] for n in nodes
                if not n.get('ignored') and not n.get('name', {}).get('value')
                and any(p['name'] == 'focusable' and p['value']['value'] for p in n.get('properties', []))
                and n['role']['value'] not in ('RootWebArea', 'generic', 'scrollable')]
    check(not nameless, 'without a name:', nameless)
    b.js('document.activeElement.blur()')
    seen = []
    for _ in range(30):
        b.key('Tab', 9)
        seen.append(b.js('document.activeElement.id || document.activeElement.textContent.slice(0, 20)'))
    missing = {'key-open', 'prompt', 'send', 'temperature', 'max-tokens', 'log', 'new'} - set(seen)
    check(not missing, 'not reached by Tab:', missing, seen)


def looks(b):
    """Nothing is wider than the screen, text stands out from what is behind it."""
    for width, height in ((1440, 900), (1024, 768), (768, 1024), (390, 844), (320, 568)):
        b.size(width, height, mobile=width < 500)
        for view in ('chat', 'status'):
            b.js(f'document.querySelector("input[value={view}]").click()')
            wide = b.js('document.documentElement.scrollWidth')
            check(wide <= width, f'{wide} wide on a screen of {width}, {view}')
            check(b.js('(() => { const r = document.getElementById("prompt").getBoundingClientRect();'
                       ' return r.width === 0 || (r.bottom <= innerHeight && r.top >= 0); })()'),
                  f'the prompt is off the screen at {width} x {height}, {view}')
    b.size(1440, 900)
    contrast = '''(() => {
      const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        return .2126 * r + .7152 * g + .0722 * b; };
      const rgb = (s) => s.match(/[\\d.]+/g).map(Number);
      const bad = [];
      for (const e of document.querySelectorAll('body *')) {
        if (!e.offsetParent || ![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
        let back = e;
        while (back && rgb(getComputedStyle(back).backgroundColor)[3] === 0) back = back.parentElement;
        const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), z = light(rgb(getComputedStyle(back).backgroundColor).slice(0, 3));
        const ratio = (Math.max(a, z) + .05) / (Math.min(a, z) + .05);
        if (ratio < 4.5) bad.push(e.tagName + ' ' + e.textContent.slice(0, 20) + ' ' + ratio.toFixed(2));
      }
      return bad; })()'''
    for scheme in ('light', 'dark'):
        b.scheme(scheme)
        bad = b.js(contrast)
        check(not bad, f'{scheme}: contrast under 4.5:', bad)


def policy(b):
    """Not even the page's own script can make markup of a text."""
    for what in ('document.body.innerHTML = "<b>x</b>"', 'document.createElement("script").textContent = "1"',
                 'document.write("x")'):
        name = b.js(f'(() => {{ try {{ {what}; return "done"; }} catch (e) {{ return e.name; }} }})()')
        check(name == 'TypeError', what, name)
    for what, directive in (('new Image().src = "/x.png"', 'img-src'),
                            ('fetch("http://127.0.0.1:1/").catch(() => 0)', 'connect-src')):
        said = b.js('new Promise((done) => { addEventListener("securitypolicyviolation",'
                    ' (e) => done(e.violatedDirective), {once: true});'
                    f' {what}; setTimeout(() => done("no complaint"), 3000); }})')
        check(said == directive, what, said)


def keys(b, octavo, model):
    """A server that wants a key: the page says so, takes it, and forgets it with the tab."""
    server = Server(octavo, model, '--api-key', 'sesame')
    try:
        b.open(server.url)
        b.wait('document.getElementById("state").textContent === "Locked"', 'a key is asked for')
        b.call('Network.setBlockedURLs', urls=['*/v1/models'])
        check('API key' in text(b, 'banner'), text(b, 'banner'))
        for key, then in (('wrong', 'Locked'), ('sesame', 'Ready')):
            b.js('document.getElementById("key-open").click();'
                 'document.getElementById("key-value").value = ""')
            b.type(key)
            b.key('Enter', 13, '\r')
            b.wait(f'document.getElementById("state").textContent === "{then}"', f'{key}: {then}')
        check(b.js('JSON.stringify([localStorage.length, document.cookie, sessionStorage["octavo.key"]])')
              == '[0,"","sesame"]')
        b.js('document.getElementById("prompt").focus()')
        b.type('hello')
        b.call('Network.setBlockedURLs', urls=[])  # asked before the page has heard the model's name
        b.key('Enter', 13, '\r')
        a = answered(b, 1)
        check(a["text"], a)
    finally:
        check(server.stop() == 0, server.said())


def load(server, stop):
    """Conversations that begin alike, for the picture's cache and plots."""
    pick = random.Random(1)
    while not stop.is_set():
        server.request('POST', '/v1/chat/completions', {'messages': [
            {'role': 'system', 'content': 'You are the helpful librarian of a small town. ' * 6},
            {'role': 'user', 'content': f'Recommend a book about the number {pick.randrange(1000)}'}],
            'temperature': 0.8, 'max_tokens': pick.randrange(30, 120)})
        stop.wait(pick.random() * 4)


def picture(b, server, path):
    """The page as the documentation shows it, with some load."""
    stop = threading.Event()
    threads = [threading.Thread(target=load, args=(server, stop)) for _ in range(7)]
    for t in threads:
        t.start()
    try:
        time.sleep(55)
        for n, prompt in enumerate(('What is the capital of France?',
                                    'What is a library for? Answer in two sentences.')):
            ask(b, prompt)
            answered(b, n + 1)
        b.screenshot(path)
    finally:
        stop.set()
        for t in threads:
            t.join()


def main():
    octavo, model, *rest = sys.argv[1:]
    program = find()
    if not program:
        print('no chromium on this machine: the page was not tried in a browser')
        return 77
    server = Server(octavo, model, *(PICTURE if rest else ()))
    b = None
    try:
        served(server)
        b = Browser(program)
        b.size(1440, 900)
        b.scheme('light')
        b.open(server.url)
        state(b)
        if rest:
            picture(b, server, rest[0])
            return 0
        talk(b)
        numbers(b, server)
        check(not b.complaints(), b.complaints())
        trouble(b)
        policy(b)
        access(b)
        looks(b)
        b.scheme('light')
        keys(b, octavo, model)
        b.open(server.url)
        state(b)
        server.kill()
        b.wait('document.getElementById("state").textContent === "Not reachable"', 'it is gone')
        check('No answer from the server' in text(b, 'banner'), text(b, 'banner'))
        ask(b, 'hello')
        check('No answer' in answered(b, 1)['error'])
        print('the page: state, conversation, numbers, trouble, policy, access, looks, keys')
        return 0
    finally:
        if b:
            b.close()
        server.kill()


sys.exit(main())
