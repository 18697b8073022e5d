# SPDX-License-Identifier: Apache-2.0
"""The openai client, unchanged, on a real server.

    test_openai.py OCTAVO MODEL"""
import asyncio
import json
import math
import sys
import time

import openai

from server import Server, check

FRANCE = [{'role': 'user', 'content': 'What is the capital of France?'}]


def refused(kind, words, call, **body):
    """The call ends with this class of error, whose sentence says these words."""
    try:
        call(**body)
    except kind as e:
        check(words in str(e), body, 'is refused with:', e)
        return e
    raise AssertionError(f'{body} was answered')


def idle(server, seconds=3):
    """Nothing runs any more, soon."""
    end = time.monotonic() + seconds
    while server.metric('vllm:num_requests_running') + server.metric('vllm:num_requests_waiting') > 0:
        check(time.monotonic() < end, f'still running after {seconds} s:', server.get('/metrics')[2])
        time.sleep(0.02)


def models(c):
    m = c.models.list().data[0]
    check(m.id and m.object == 'model' and c.models.retrieve(m.id).id == m.id, m)
    refused(openai.NotFoundError, 'no-such', c.models.retrieve, model='no-such')
    return m.id


def chat(c, model):
    """Whole and streamed the same text, twice the same, and what a response must say of itself."""
    ask = dict(model=model, messages=FRANCE, temperature=0, max_tokens=24)
    a = c.chat.completions.create(**ask)
    m = a.choices[0]
    check(a.id.startswith('chatcmpl-') and a.object == 'chat.completion' and a.model == model, a)
    check(m.index == 0 and m.message.role == 'assistant' and 'Paris' in m.message.content, a)
    check(m.finish_reason == 'stop' and m.logprobs is None, a)
    check(a.usage.prompt_tokens > 10 and 1 < a.usage.completion_tokens <= 24, a)
    check(a.usage.total_tokens == a.usage.prompt_tokens + a.usage.completion_tokens, a)
    check(abs(a.created - time.time()) < 60, a)

    text, finish, usage, roles = '', None, None, []
    for chunk in c.chat.completions.create(**ask, stream=True, stream_options={'include_usage': True}):
        check(chunk.object == 'chat.completion.chunk' and chunk.id.startswith('chatcmpl-'), chunk)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ''
            roles += [choice.delta.role] if choice.delta.role else []
            finish = choice.finish_reason or finish
    check(text == m.message.content and finish == 'stop' and roles == ['assistant'], text, finish, roles)
    check((usage.prompt_tokens, usage.completion_tokens)
          == (a.usage.prompt_tokens, a.usage.completion_tokens), usage, a.usage)

    cut = c.chat.completions.create(**{**ask, 'max_tokens': 3})
    check(cut.choices[0].finish_reason == 'length' and cut.usage.completion_tokens == 3, cut)
    stopped = c.chat.completions.create(**ask, stop=[' Paris'])
    check(m.message.content.startswith(stopped.choices[0].message.content), stopped)
    check('Paris' not in stopped.choices[0].message.content, stopped)
    raw = c.chat.completions.with_raw_response.create(**ask, extra_headers={'x-request-id': 'mine-1'})
    check(raw.headers['x-request-id'] == 'mine-1', dict(raw.headers))
    check(raw.parse().id == 'chatcmpl-mine-1', raw.parse())
    return m.message.content


def choices(c, model):
    """n answers that differ, the same ones for the same seed; usage counts all of them."""
    ask = dict(model=model, messages=FRANCE, temperature=1.5, seed=7, n=4, max_tokens=12)
    a, b = (c.chat.completions.create(**ask) for _ in range(2))
    texts = [x.message.content for x in a.choices]
    check([x.index for x in a.choices] == [0, 1, 2, 3] and len(set(texts)) > 1, a)
    check(texts == [x.message.content for x in b.choices], texts, b)
    check(4 < a.usage.completion_tokens <= 48, a.usage)
    streamed = [''] * 4
    for chunk in c.chat.completions.create(**ask, stream=True):
        for x in chunk.choices:
            streamed[x.index] += x.delta.content or ''
    check(streamed == texts, streamed, texts)


def completions(c, model, server):
    """Text, ids, lists of both; echo; the prompt's log probabilities."""
    text = 'The capital of France is'
    ids = json.loads(server.request('POST', '/tokenize', {'prompt': text})[2])['tokens']
    ask = dict(model=model, temperature=0, max_tokens=6)
    a = c.completions.create(**ask, prompt=text)
    check(a.id.startswith('cmpl-') and a.object == 'text_completion' and 'Paris' in a.choices[0].text, a)
    for prompt, n in ((ids, 1), ([text, text], 2), ([ids, ids, ids], 3)):
        b = c.completions.create(**ask, prompt=prompt)
        check([x.text for x in b.choices] == [a.choices[0].text] * n, prompt, b)
        check(b.usage.prompt_tokens == n * len(ids), b.usage)
    streamed = ''.join(x.choices[0].text for x in c.completions.create(**ask, prompt=text, stream=True))
    check(streamed == a.choices[0].text, streamed)

    e = c.completions.create(**ask, prompt=text, echo=True, logprobs=2).choices[0]
    lp = e.logprobs
    check(e.text == text + a.choices[0].text, e.text)
    check(len(lp.tokens) == len(lp.token_logprobs) == len(lp.top_logprobs) == len(ids) + 6, lp)
    check(lp.token_logprobs[0] is None and all(v <= 0 for v in lp.token_logprobs[1:]), lp)
    check(''.join(lp.tokens) == e.text, lp.tokens)
    for token, value, top in list(zip(lp.tokens, lp.token_logprobs, lp.top_logprobs))[len(ids):]:
        check(max(top.values()) == value, token, value, top) # the likeliest was taken


def logprobs(c, model):
    a = c.chat.completions.create(model=model, messages=FRANCE, temperature=0, max_tokens=5,
                                  logprobs=True, top_logprobs=3)
    content = a.choices[0].logprobs.content
    check(len(content) == 5, content)
    check(b''.join(bytes(t.bytes) for t in content).decode() == a.choices[0].message.content, content)
    for t in content:
        check(len(t.top_logprobs) == 3 and t.top_logprobs[0].logprob == t.logprob, t)
        check(sum(math.exp(x.logprob) for x in t.top_logprobs) <= 1 + 1e-5, t)


def errors(c, model, context):
    create = c.chat.completions.create
    bad = openai.BadRequestError
    for words, body in (
            ('temperature', dict(temperature=-1)), ('top_p', dict(top_p=0)),
            ('max_tokens', dict(max_tokens=-1)), ('n', dict(n=1000)),
            ('stop', dict(stop=['x'] * 17)), ('logit_bias', dict(logit_bias={'999999': 1})),
            ('top_logprobs', dict(logprobs=True, top_logprobs=21)),
            ('response_format', dict(response_format={'type': 'json_object'})),
            ('no_such_field', dict(extra_body={'no_such_field': 1})),
            ('messages', dict(messages=[])), ('role', dict(messages=[{'content': 'x'}])),
            (str(context), dict(messages=[{'role': 'user', 'content': 'word ' * (context + 10)}]))):
        e = refused(bad, words, create, **{'model': model, 'messages': FRANCE, **body})
        check(e.body['message'] and e.body['type'], e.body)
    refused(openai.NotFoundError, 'no-such', create, model='no-such', messages=FRANCE)
    refused(openai.NotFoundError, '/v1/embeddings', c.embeddings.create, model=model, input='x')


def leaving(c, model, server):
    """A client that gives up, whole or streaming, ends its request."""
    slow = dict(model=model, messages=FRANCE, max_tokens=1500, extra_body={'ignore_eos': True})
    before = server.metric('octavo_calls_ended_total')
    refused(openai.APITimeoutError, '', c.with_options(timeout=0.3).chat.completions.create, **slow)
    idle(server)
    stream = c.chat.completions.create(**slow, stream=True)
    for _, chunk in zip(range(5), stream):
        check(chunk.choices[0].finish_reason is None, chunk)
    stream.close()
    idle(server)
    check(server.metric('octavo_calls_ended_total') == before + 2, server.get('/metrics')[2])


async def together(url, model, alone):
    """32 at once; the answers are those that each gets alone."""
    c = openai.AsyncOpenAI(base_url=url, api_key='none', max_retries=0)
    ask = dict(model=model, messages=FRANCE, temperature=0, max_tokens=24)

    async def one(i):
        if i % 2:
            return (await c.chat.completions.create(**ask)).choices[0].message.content
        text = ''
        async for chunk in await c.chat.completions.create(**ask, stream=True):
            text += chunk.choices[0].delta.content or ''
        return text
    texts = await asyncio.gather(*[one(i) for i in range(32)])
    check(set(texts) == {alone}, set(texts), alone)
    await c.close()


def keys(octavo, model_path):
    server = Server(octavo, model_path, '--api-key', 'sesame', '--served-model-name', 'one',
                    '--served-model-name', 'two')
    try:
        url = server.url + '/v1'
        c = openai.OpenAI(base_url=url, api_key='wrong', max_retries=0)
        refused(openai.AuthenticationError, 'key', c.models.list)
        refused(openai.AuthenticationError, 'key', c.chat.completions.create, model='one', messages=FRANCE)
        c = openai.OpenAI(base_url=url, api_key='sesame', max_retries=0)
        check([m.id for m in c.models.list()] == ['one', 'two'])
        a = c.chat.completions.create(model='two', messages=FRANCE, max_tokens=1)
        check(a.model == 'two', a)
    finally:
        check(server.stop() == 0, server.said())


def main():
    octavo, model_path = sys.argv[1:]
    server = Server(octavo, model_path, '--max-model-len', '2048')
    try:
        c = openai.OpenAI(base_url=server.url + '/v1', api_key='none', max_retries=0, timeout=120)
        model = models(c)
        alone = chat(c, model)
        choices(c, model)
        completions(c, model, server)
        logprobs(c, model)
        errors(c, model, 2048)
        leaving(c, model, server)
        asyncio.run(together(server.url + '/v1', model, alone))
        idle(server)
        keys(octavo, model_path)
        check(server.stop() == 0, server.said())
        print(f'openai {openai.__version__}: models, chat, choices, completions, logprobs, errors, '
              'leaving, 32 together, keys')
    finally:
        server.kill()


main()
