# SPDX-License-Identifier: Apache-2.0
"""The ollama client, unchanged, on a real server.

    test_ollama.py OCTAVO MODEL"""
import asyncio
import json
import sys
import time
from datetime import datetime

import ollama

from server import Server, check

FRANCE = [{'role': 'user', 'content': 'What is the capital of France?'}]
COLD = {'temperature': 0, 'num_predict': 24}


def refused(status, words, call, *args, **body):
    try:
        answer = call(*args, **body)
        if body.get('stream'):
            list(answer)
    except ollama.ResponseError as e:
        check(e.status_code == status and words in e.error, body, 'is refused with:', e.status_code, e.error)
        return
    raise AssertionError(f'{args} {body} was answered')


def what_there_is(c, server):
    m = c.list().models[0]
    check(m.model.endswith(':latest') and m.size > 1e6 and len(m.digest) == 64, m)
    check(m.details.family == 'llama' and m.details.parameter_size.endswith('M'), m.details)
    check(isinstance(m.modified_at, datetime), m)
    name = m.model.removesuffix(':latest')
    for n in (name, m.model):
        s = c.show(n)
        check(s.modelinfo['general.architecture'] == 'llama', s.modelinfo)
        check(s.modelinfo['llama.context_length'] == 2048, s.modelinfo)
        check(s.modelinfo['general.parameter_count'] > 1e8, s.modelinfo)
        check(s.capabilities == ['completion'] and 'message' in s.template, s)
    p = c.ps().models[0]
    check(p.model == m.model and p.context_length == 2048, p)
    check(c.pull(name).status == 'success')
    check([x.status for x in c.pull(name, stream=True)] == ['success'])
    for path in ('/', '/api/version'):
        check(server.request('HEAD', path)[0] == 200, path)
    version = json.loads(server.get('/api/version')[2])['version']
    check(tuple(int(v) for v in version.split('.')) >= (0, 6, 4), version)
    check(server.get('/')[2] == b'Ollama is running')
    return name


def counted(a, context=2048):
    check(a.done and a.prompt_eval_count > 0 and 0 < a.eval_count <= context, a)
    check(a.total_duration >= a.eval_duration > 0 and a.prompt_eval_duration > 0, a)
    check(a.load_duration == 0, a)
    age = time.time() - datetime.fromisoformat(a.created_at.replace('Z', '+00:00')).timestamp()
    check(-2 < age < 60, a.created_at)


def chat(c, name):
    a = c.chat(name, messages=FRANCE, options=COLD)
    counted(a)
    check(a.message.role == 'assistant' and 'Paris' in a.message.content and a.done_reason == 'stop', a)
    check(a.message.thinking is None, a)
    parts = list(c.chat(name + ':latest', messages=FRANCE, options=COLD, stream=True))
    check(''.join(p.message.content for p in parts) == a.message.content, parts)
    check([p.done for p in parts] == [False] * (len(parts) - 1) + [True] and len(parts) > 2, parts)
    counted(parts[-1])
    check((parts[-1].prompt_eval_count, parts[-1].eval_count) == (a.prompt_eval_count, a.eval_count), parts[-1], a)
    check(parts[0].model == name + ':latest', parts[0])
    cut = c.chat(name, messages=FRANCE, options={**COLD, 'num_predict': 3})
    check(cut.done_reason == 'length' and cut.eval_count == 3, cut)
    stopped = c.chat(name, messages=FRANCE, options={**COLD, 'stop': [' Paris']})
    check('Paris' not in stopped.message.content and stopped.done_reason == 'stop', stopped)
    longer = FRANCE + [a.message, {'role': 'user', 'content': 'And of Italy?'}]
    check(c.chat(name, messages=longer, options=COLD).prompt_eval_count > a.prompt_eval_count)
    for think in (True, False):
        check(c.chat(name, messages=FRANCE, options=COLD, think=think).message.content)
    a = c.chat(name, messages=FRANCE, options=COLD, logprobs=True, top_logprobs=2)
    check(len(a.logprobs) >= a.eval_count - 1 and len(a.logprobs[0].top_logprobs) == 2, a.logprobs)
    check(a.logprobs[0].logprob == a.logprobs[0].top_logprobs[0].logprob <= 0, a.logprobs[0])
    return a.message.content


def generate(c, name, chatted):
    a = c.generate(name, FRANCE[0]['content'], options=COLD)
    counted(a)
    check(a.response == chatted and a.done_reason == 'stop', a.response, chatted)
    parts = list(c.generate(name, FRANCE[0]['content'], options=COLD, stream=True))
    check(''.join(p.response for p in parts) == a.response, parts)
    counted(parts[-1])
    piped = c.generate(name, FRANCE[0]['content'], system='You are a pirate.', options=COLD)
    check(piped.prompt_eval_count != a.prompt_eval_count, piped)
    raw = c.generate(name, 'The capital of France is', raw=True, options={**COLD, 'num_predict': 6})
    check('Paris' in raw.response and raw.prompt_eval_count < 10, raw)
    warm = dict(temperature=1.5, top_k=50, top_p=0.95, min_p=0.01, repeat_penalty=1.1,
                presence_penalty=0.1, frequency_penalty=0.1, seed=3, num_predict=12, num_ctx=1024)
    one, two = (c.generate(name, 'Tell me a story', options=warm).response for _ in range(2))
    other = c.generate(name, 'Tell me a story', options={**warm, 'seed': 4}).response
    check(one == two != other, one, two, other)
    for keep in ({}, {'keep_alive': 0}, {'keep_alive': '5m'}):
        a = c.generate(name, **keep)
        check(a.done and a.done_reason == 'load' and a.response == '', a)
    a = c.chat(name, messages=[])
    check(a.done and a.done_reason == 'load' and a.message.content == '', a)


def wire(server, name):
    """What the client hides: a stream is the default, of lines of JSON."""
    status, headers, body = server.request('POST', '/api/chat', {
        'model': name, 'messages': FRANCE, 'options': COLD})
    check(status == 200 and headers['Content-Type'] == 'application/x-ndjson', headers)
    lines = [json.loads(line) for line in body.split(b'\n') if line]
    check(len(lines) > 2 and lines[-1]['done'] and body.endswith(b'\n'), body)
    status, headers, body = server.request('POST', '/api/generate', {
        'model': name, 'prompt': 'hi', 'stream': False, 'options': COLD})
    check(status == 200 and headers['Content-Type'].startswith('application/json'), headers)
    check(json.loads(body)['done'], body)


def errors(c, name, server):
    refused(404, 'no-such', c.chat, 'no-such', messages=FRANCE)
    refused(404, 'no-such', c.generate, 'no-such:latest', 'x')
    refused(404, 'no-such', c.show, 'no-such')
    refused(404, 'no-such', c.pull, 'no-such')
    refused(400, 'format', c.generate, name, 'x', format='json')
    refused(400, 'template', c.generate, name, 'x', template='{{ .Prompt }}', stream=True)
    refused(400, 'suffix', c.generate, name, 'x', suffix='y')
    refused(400, 'images', c.generate, name, 'x', images=['aGk='])
    refused(400, 'num_ctx', c.generate, name, 'x', options={'num_ctx': 1 << 20})
    refused(400, 'mirostat', c.generate, name, 'x', options={'mirostat': 1})
    refused(400, 'temperature', c.generate, name, 'x', options={'temperature': -2})
    refused(400, '2048', c.generate, name, 'word ' * 3000)
    refused(501, 'embeddings', c.embed, name, 'x')
    refused(501, 'one model', c.create, name, from_=name)
    refused(501, 'one model', c.copy, name, 'other')
    refused(501, 'one model', c.push, name)
    check(server.request('DELETE', '/api/delete', {'model': name})[0] == 501)
    check(json.loads(server.request('POST', '/api/chat', [])[2])['error'])
    check(server.request('GET', '/api/chat')[0] == 405)
    check(server.request('GET', '/api/no-such')[0] == 404)


async def leaving(server, name):
    """A stream that is dropped ends its request; 16 at once are answered alike."""
    c = ollama.AsyncClient(host=server.url)
    n = 0
    stream = await c.generate(name, 'Count to one thousand', stream=True, options={'num_predict': 1500})
    async for _ in stream:
        n += 1
        if n == 5:
            break
    await stream.aclose()
    end = time.monotonic() + 3
    while server.metric('vllm:num_requests_running') > 0:
        check(time.monotonic() < end, 'it still runs')
        await asyncio.sleep(0.02)
    texts = {(await a).message.content for a in [
        asyncio.create_task(c.chat(name, messages=FRANCE, options=COLD)) for _ in range(16)]}
    check(len(texts) == 1, texts)


def main():
    octavo, model = sys.argv[1:]
    server = Server(octavo, model, '--max-model-len', '2048')
    try:
        c = ollama.Client(host=server.url, timeout=120)
        name = what_there_is(c, server)
        generate(c, name, chat(c, name))
        wire(server, name)
        errors(c, name, server)
        asyncio.run(leaving(server, name))
        check(server.stop() == 0, server.said())
        print('ollama: list, show, ps, pull, chat, generate, the wire, errors, leaving')
    finally:
        server.kill()


main()
