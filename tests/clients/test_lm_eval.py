# SPDX-License-Identifier: Apache-2.0
"""lm-eval, unchanged, on a real server: a task of our own with texts to score, questions to choose
from and texts to go on with. Each score is compared with the one that the server gives when it
generates the very same tokens, one request a token: other prompts, other batches, the same bits.

    test_lm_eval.py OCTAVO MODEL"""
import json
import os
import sys
import tempfile

from server import Server, check

os.environ.update(HF_HUB_OFFLINE='1', HF_DATASETS_OFFLINE='1', TOKENIZERS_PARALLELISM='false',
                  HF_HOME=tempfile.mkdtemp(prefix='octavo-lm-eval-'))
import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

TEXTS = [
    ('The capital of France is', ' Paris'),
    ('The capital of France is', ' Rome'),
    ('Once upon a time there was a', ' little girl who lived in a village'),
    ('2 + 2 =', ' 4'),
    ('Water boils at a temperature of', ' 100 degrees Celsius'),
    ('Ein, zwei, drei,', ' vier, fünf, sechs'),
    ('def add(a, b):', '\n    return a + b\n'), # lm-eval moves white space from end to beginning
    ('The sun rises in the', ' east and sets in the west'),
]
QUESTIONS = [
    ('The sky is', [' blue', ' made of cheese', ' seven'], 0),
    ('Cats like to chase', [' mice', ' mathematics', ' the sea'], 0),
    ('A year has twelve', [' legs', ' months', ' colours'], 1),
]
TASKS = {
    'scores': '''task: scores
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
output_type: loglikelihood
test_split: test
doc_to_text: "{{context}}"
doc_to_target: "{{target}}"
target_delimiter: ""
metric_list: [{metric: perplexity, aggregation: perplexity, higher_is_better: false}, {metric: acc}]
''',
    'choices': '''task: choices
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{context}}"
doc_to_target: "{{answer}}"
doc_to_choice: "{{choices}}"
target_delimiter: ""
metric_list: [{metric: acc}]
''',
    'answers': '''task: answers
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
output_type: generate_until
test_split: test
doc_to_text: "{{context}}"
doc_to_target: "{{target}}"
target_delimiter: ""
generation_kwargs: {until: ["."], max_gen_toks: 8, temperature: 0}
metric_list: [{metric: exact_match}]
'''}


def write_tasks(folder):
    rows = {'scores': [{'context': c, 'target': t} for c, t in TEXTS],
            'choices': [{'context': c, 'choices': o, 'answer': a} for c, o, a in QUESTIONS],
            'answers': [{'context': c, 'target': t} for c, t in TEXTS[:4]]}
    for name, task in TASKS.items():
        file = os.path.join(folder, name + '.jsonl')
        with open(file, 'w') as f:
            f.writelines(json.dumps(r) + '\n' for r in rows[name])
        with open(os.path.join(folder, name + '.yaml'), 'w') as f:
            f.write(task.replace('FILE', file))


def ids_of(server, text):
    return json.loads(server.request('POST', '/tokenize', {'prompt': text, 'add_special_tokens': False})[2])['tokens']


def scored(server, model, context, target):
    """The sum of the target's log probabilities, and whether each was the likeliest: each token is
    forced by its bias, which its log probability knows nothing of."""
    whole, n = ids_of(server, context + target), len(ids_of(server, context))
    total, greedy = 0.0, True
    for i in range(n, len(whole)):
        body = {'model': model, 'prompt': whole[:i], 'max_tokens': 1, 'temperature': 0, 'logprobs': 1,
                'logit_bias': {str(whole[i]): 100}, 'ignore_eos': True}
        status, _, answer = server.request('POST', '/v1/completions', body)
        check(status == 200, answer)
        lp = json.loads(answer)['choices'][0]['logprobs']
        total += lp['token_logprobs'][0]
        greedy &= lp['token_logprobs'][0] >= max(lp['top_logprobs'][0].values())
    return total, greedy


def main():
    octavo, model_path = sys.argv[1:]
    server = Server(octavo, model_path, '--max-model-len', '2048')
    try:
        model = json.loads(server.get('/v1/models')[2])['data'][0]['id']
        with tempfile.TemporaryDirectory() as folder:
            write_tasks(folder)
            runs = [lm_eval.simple_evaluate(
                model='local-completions', tasks=list(TASKS), task_manager=TaskManager(
                    include_path=folder, include_defaults=False),
                model_args=dict(model=model, base_url=server.url + '/v1/completions', **args),
                log_samples=True, bootstrap_iters=0, verbosity='ERROR')
                for args in ({}, {'batch_size': 4, 'num_concurrent': 4})]
        samples = [r['samples'] for r in runs]
        n = 0
        for i, (context, target) in enumerate(TEXTS):
            want = scored(server, model, context, target)
            for s in samples:
                got = tuple(s['scores'][i]['filtered_resps'][0])
                check(s['scores'][i]['doc']['target'] == target, s['scores'][i])
                check(abs(got[0] - want[0]) < 1e-9 and bool(got[1]) == want[1], context, target, got, want)
            n += 1
        for i, (context, options, answer) in enumerate(QUESTIONS):
            want = [scored(server, model, context, o) for o in options]
            for s in samples:
                got = s['choices'][i]['filtered_resps']
                check(all(abs(g[0] - w[0]) < 1e-9 for g, w in zip(got, want)), context, got, want)
            check(max(range(3), key=lambda k: want[k][0]) == answer, context, want)
            n += len(options)
        texts = [[a['filtered_resps'][0] for a in s['answers']] for s in samples]
        check(texts[0] == texts[1] and 'Paris' in texts[0][0], texts)
        results = runs[0]['results']
        check(results['choices']['acc,none'] == 1, results)
        check(server.stop() == 0, server.said())
        print(f'lm-eval {lm_eval.__version__}: {n} scores are those of generated tokens, alone and in batches')
    finally:
        server.kill()


main()
