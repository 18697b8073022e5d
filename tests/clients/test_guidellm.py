# SPDX-License-Identifier: Apache-2.0
"""guidellm, unchanged, on a real server: streamed chats of 16 tokens, four at once, with usage.

    test_guidellm.py OCTAVO MODEL"""
import json
import os
import subprocess
import sys
import tempfile

from server import Server, check

N = 20


def main():
    octavo, model = sys.argv[1:]
    server = Server(octavo, model, '--max-model-len', '2048')
    try:
        with tempfile.TemporaryDirectory() as folder:
            prompts, result = os.path.join(folder, 'prompts.jsonl'), os.path.join(folder, 'result.json')
            with open(prompts, 'w') as f:
                for i in range(N):
                    f.write(json.dumps({'prompt': f'Tell me a story about the number {i}',
                                        'output_tokens_count': 16}) + '\n')
            run = subprocess.run(
                [sys.executable, '-m', 'guidellm', 'run', '--disable-console-interactive',
                 '--backend', 'kind=openai_http,target=' + server.url,
                 '--profile', 'kind=concurrent,streams=4', '--constraint', f'kind=max_requests,count={N}',
                 '--data', 'kind=json_file,path=' + prompts, '--output', 'kind=json,path=' + result],
                env={**os.environ, 'HF_HUB_OFFLINE': '1'}, capture_output=True, text=True, timeout=300)
            check(run.returncode == 0, run.stdout, run.stderr)
            with open(result) as f:
                metrics = json.load(f)['benchmarks'][0]['metrics']
        totals = metrics['request_totals']
        check((totals['successful'], totals['errored'], totals['incomplete']) == (N, 0, 0), totals)
        tokens = metrics['output_token_count']['successful']
        check(tokens['min'] == tokens['max'] == 16, tokens)
        check(server.metric('vllm:generation_tokens_total') >= 16 * N)
        check(server.stop() == 0, server.said())
        print(f'guidellm: {N} streamed chats, 16 tokens each')
    finally:
        server.kill()


main()
