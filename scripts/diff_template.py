#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares Octavo's chat templates with jinja2 as Hugging Face configures it (transformers'
apply_chat_template). Run in an environment with transformers and jinja2:

  scripts/diff_template.py --tool build/release-tests/tests/tool_render --cases FILE
  scripts/diff_template.py --tool ... --cases FILE --conversations 2000
  scripts/diff_template.py --tool ... --templates FOLDER --conversations 8000 --marks
  scripts/diff_template.py --tool ... --expressions 20000 [--seed 1]
  scripts/diff_template.py --tool ... --snippets
  scripts/diff_template.py --tool ... --cases FILE --expressions 2500 --statements 1500 \
      --golden tests/golden/templates.json

FILE is chat_templates.json: {model: {template, special_tokens, cases}}. --golden writes the sample
that tests/text/test_chat.c checks without Python. Exit code 1 if anything differs. Where jinja2
renders and Octavo says that it does not support something or is over a budget, that is counted as
"refused", not as a difference."""
import argparse
import datetime
import glob
import json
import os
import random
import re
import resource
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")
from transformers.utils.chat_template_utils import _cached_compile_jinja_template  # noqa: E402

import template_snippets  # noqa: E402

NOW = 1765929600  # 2025-12-17 00:00:00 UTC
NOW_TEXT = datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).replace(tzinfo=None)
# Constant expressions: jinja2's optimizer gives Undefined for a slice of a number where the same
# expression with a variable raises, and drops an unknown filter in a part that is never reached.
# Octavo refuses both.
KNOWN = re.compile("cannot be sliced|bounds of a slice|there is no (filter|test) named")
REFUSED = ("not supported by this build or model", "over a published limit")


class Tool:
    def __init__(self, path):
        self.p = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def render(self, template, variables, own=None):
        request = {"template": template, "vars": variables, "now_s": NOW}
        line = json.dumps(request if own is None else {**request, "own": own})
        self.p.stdin.write(line.encode() + b"\n")
        self.p.stdin.flush()
        out = self.p.stdout.readline()
        if not out:
            print("tool_render died on", line)
            sys.exit(1)
        return json.loads(out)


compiled = {}


def reference(template, variables):
    """(text, None) or (None, error)."""
    try:
        t = compiled.get(template)
        if t is None:
            t = _cached_compile_jinja_template(template)
            t.globals["strftime_now"] = NOW_TEXT.strftime
            if len(compiled) < 100:
                compiled[template] = t
        text = t.render(**json.loads(json.dumps(variables)))
        text.encode()
        return text, None
    except RecursionError:
        return None, "recursion"
    except Exception as e:  # whatever a template can raise
        return None, f"{type(e).__name__}: {e}"


class Score:
    def __init__(self, verbose):
        self.n = self.same = self.errors = self.skipped = 0
        self.refused, self.different = {}, []
        self.verbose = verbose

    def add(self, tool, name, template, variables):
        want, error = reference(template, variables)
        got = tool.render(template, variables)
        self.n += 1
        if want is not None and re.search(r" object at 0x|<function |<bound method|<built-in", want):
            self.skipped += 1  # shows an address
        elif want is not None and got.get("text") == want:
            self.same += 1
        elif want is None and "text" not in got and \
                error.startswith("TemplateError: ") == (got.get("status") == "invalid argument"):
            self.errors += 1  # raise_exception is told from other errors
        elif want is not None and (got.get("status") in REFUSED or KNOWN.search(got.get("error", ""))):
            why = re.sub(r"^chat template[^:]*: ", "", got["error"].rsplit("': ", 1)[-1])
            self.refused[why] = self.refused.get(why, 0) + 1
        else:
            self.different.append(name)
            if len(self.different) <= 20 or self.verbose:
                print(f"--- {name}\n{template if len(template) < 300 else template[:300] + '...'}")
                print("  want", repr(want) if want is not None else f"error {error}")
                print("  got ", repr(got.get("text")) if "text" in got else f"error {got}")
        return want, error

    def report(self, title):
        print(f"{title}: {self.n} tried, {self.same} identical, {self.errors} errors in both, "
              f"{sum(self.refused.values())} refused, {self.skipped} skipped (addresses), "
              f"{len(self.different)} different")
        for why, n in sorted(self.refused.items(), key=lambda x: -x[1])[:12]:
            print(f"  refused {n:6}  {why}")
        return not self.different


# What control tokens look like.
TOKEN = re.compile(r"<\|[A-Za-z0-9_ ]+\|>|<｜[^<>]+?｜>|\[/?[A-Z_]+\]|</?s>|<(?:start|end)_of_turn>|<[be]os>".encode())


def check_marks(tool, name, template, variables, special):
    """Marking who wrote which byte leaves the text as it is, and takes no control token away from the template:
    number of tokens looked at, or None."""
    got, plain = tool.render(template, variables, list(special)), tool.render(template, variables)
    if got.get("text") != plain.get("text") or got.get("error") != plain.get("error"):
        print(f"--- {name}: with marks {got}, without {plain}")
        return None
    text = got.get("text", "").encode()
    inputs = json.dumps({k: v for k, v in variables.items() if k not in special}, ensure_ascii=False).encode()
    tokens = [m for m in TOKEN.finditer(text) if m.group() not in inputs]
    for m in tokens:
        if "0" in got["own"][m.start():m.end()]:
            print(f"--- {name}: {m.group().decode()} is the template's and is marked as the caller's")
            return None
    return len(tokens)


def case_vars(model, case):
    v = dict(model["special_tokens"])
    v.update({k: case[k] for k in ("messages", "add_generation_prompt") if k in case})
    v["tools"] = case.get("tools")
    return v


# ---- random conversations ----

WORDS = ["Hi", "hello world", "", " ", "\n", "a\n\nb", "你好，世界", "عربي", "👩‍💻 emoji", "<think>", "</think>",
         "<think>\nhm\n</think>\n\nanswer", "  padded  ", "\ttab", "quote \" and '", "back\\slash", "{{ x }}",
         "{% if %}", "<tool_response>\nx\n</tool_response>", "&<>", "é", "\u00a0nbsp", "x" * 500,
         "<|im_end|>", "line\r\nend", "None", "0", "\u2028"]


def words(rng):
    return "".join(rng.choice(WORDS) for _ in range(rng.randint(0, 4)))


def value(rng, depth=0):
    k = rng.randint(0, 9 if depth < 3 else 6)
    if k <= 1:
        return words(rng)
    if k == 2:
        return rng.choice([0, 1, -1, 42, 10 ** 15, 2 ** 62, -(2 ** 63)])
    if k == 3:
        return rng.choice([0.5, 1.0, -0.0, 1e22, 1e-7, 3.141592653589793, 1e16, 123456789.125, 2.5e-5])
    if k == 4:
        return rng.random() * 10 ** rng.randint(-10, 20)
    if k == 5:
        return rng.choice([True, False])
    if k == 6:
        return None
    if k == 7:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(["a", "b", "city", "é", "a b", "items", "type", "name", words(rng)]): value(rng, depth + 1)
            for _ in range(rng.randint(0, 4))}


def tool_schema(rng, i):
    props = {rng.choice("abcdefgh") + str(k): {"type": rng.choice(["string", "integer", "number", "object"]),
                                               "description": words(rng), "default": value(rng, 2)}
             for k in range(rng.randint(0, 4))}
    f = {"name": f"tool_{i}", "description": words(rng),
         "parameters": {"type": "object", "properties": props, "required": list(props)[:rng.randint(0, 2)]}}
    return {"type": "function", "function": f} if rng.random() < 0.9 else f


def content(rng):
    k = rng.random()
    if k < 0.75:
        return words(rng)
    if k < 0.8:
        return None
    kinds = [{"type": "text", "text": words(rng)}, {"type": "image", "image": "x.png"}, {"type": "image_url"},
             {"type": "video", "video": "v"}, {"type": "audio", "audio": "a"}, {"type": "audio", "audio_url": "a"}]
    return [rng.choice(kinds) for _ in range(rng.randint(0, 3))]


def message(rng):
    role = rng.choice(["user", "user", "assistant", "assistant", "system", "tool", "developer"])
    m = {"role": role, "content": content(rng)}
    if role == "assistant":
        if rng.random() < 0.3:
            m["reasoning_content"] = rng.choice([words(rng), "", None])
        if rng.random() < 0.3:
            calls = [{"name": f"tool_{i}", "arguments": rng.choice([{}, {"x": value(rng)}, json.dumps({"y": 1}), ""])}
                     for i in range(rng.randint(0, 3))]
            m["tool_calls"] = [{"id": "call_1", "type": "function", "function": c} if rng.random() < 0.8 else c
                               for c in calls]
    if role == "tool" and rng.random() < 0.7:
        m.update({"tool_call_id": "call_1", "name": "tool_0"})
    if rng.random() < 0.03:
        del m[rng.choice(["role", "content"])]
    return m


def conversation(rng, model):
    n = rng.choice([0, 1, 1, 2, 3, 5, 8, 20])
    messages = [message(rng) for _ in range(n)]
    if rng.random() < 0.6:  # one that templates like: roles in turn
        messages = [dict(message(rng), role=("user", "assistant")[i % 2]) for i in range(n)]
        if rng.random() < 0.5:
            messages.insert(0, {"role": "system", "content": words(rng)})
    v = dict(model["special_tokens"], messages=messages, add_generation_prompt=rng.random() < 0.5)
    if rng.random() < 0.4:
        v["tools"] = rng.choice([None, [], [tool_schema(rng, i) for i in range(rng.randint(1, 4))]])
    for key, choices in (("enable_thinking", [True, False]), ("date_string", ["26 Jul 2024"]), ("custom_tools", [None]),
                         ("tools_in_user_message", [True, False]), ("xml_tools", [None, [tool_schema(rng, 9)]]),
                         ("python_tools", [None, [tool_schema(rng, 8)]]), ("documents", [None, []]),
                         ("builtin_tools", [None, ["code_interpreter", "brave_search"]])):
        if rng.random() < 0.15:
            v[key] = rng.choice(choices)
    return v


# ---- random expressions ----

STRINGS = ["", "a", "abc", "Hello World", "  pad ", "x,y,z", "ÄöÜ ß", "你好 world", "a\\nb\\tc", "it's", 'say \\"hi\\"',
           "<b>&</b>", "12", "-3.5", "0x1f", "aAbB", "ΑΣ ὈΔΥΣΣΕΎΣ", "ﬁx", "1_000", "ǆ", "e\\u0301", "line\\r\\nend\\x0bv", "👍🏽"]
ATTRS = ["a", "b", "items", "x", "name", "count", "first"]
FILTERS0 = ("abs capitalize count e escape first float forceescape int items last length list lower max min reverse safe "
            "sort string sum title tojson trim unique upper wordcount urlencode round indent default dictsort select "
            "reject join").split()
TESTS0 = ("defined undefined none boolean true false integer float number string mapping sequence iterable odd even "
          "lower upper callable escaped").split()
METHODS0 = ("upper lower title capitalize strip lstrip rstrip split swapcase isdigit isalpha isalnum isspace isupper "
            "islower istitle splitlines keys values items copy isascii isprintable").split()
VARS = {"n": 7, "f": 2.5, "s": "Text to Split, twice", "l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "d": {"b": 1, "a": 2, "items": 3},
        "lo": [{"a": 1, "b": "x"}, {"a": 2, "name": "N"}, {"a": 1, "b": None}], "t": True, "none": None, "e": [], "u8": "日本語 text",
        "nest": {"x": {"a": [1, {"b": 2.0}]}}, "mixed": [1, "1", 1.0, None, True, [1]]}


def typed(rng, depth, kind):
    """An expression that has that type, mostly."""
    leaf = depth <= 0 or rng.random() < 0.15
    t = lambda k: typed(rng, depth - 1, k)
    if kind == "str":
        if leaf:
            return rng.choice(["s", "u8", "ls[0]", *('"' + x + '"' for x in STRINGS)])
        return rng.choice([
            "{s}.upper()", "{s}|lower", "{s}|title", "{s}.title()", "{s}|capitalize", "{s}.swapcase()", "({s} ~ {a})", "({s} + {s})",
            "{s}[{n}:]", "{s}[:{n}]", "{s}[::-1]", "{s}[{n}:{n}:2]", "{s}|trim", "{s}.strip({s})", "{s}.rstrip()", "{s}|replace({s}, {s})",
            "{s}.replace({s}, {s}, 1)", "{l}|join({s})", "{s}.join({l}|map('string'))", "{a}|string", "{a}|tojson", "{a}|tojson(indent=2)",
            "{s}|indent({i})", "{s}|indent(2, true, {b})", "{s}|e", "({s}|e ~ {s})", "({s}|safe + {s})", "{s}.center({i})", "{s}.zfill({i})",
            "{s}.ljust({i}, '*')", "({s} * {i})", "{s}|truncate(8, {b}, '~', 0)", "({s} if {b} else {s})", "('%s|%r|%5s' % ({a}, {a}, {s}))",
            "('%d %05d %x' % ({n}, {n}, {i}))", "('%.3f|%8.2e|%g' % ({f}, {f}, {f}))", "'{{}}|{{!r}}'.format({a}, {s})", "'{{:>9}}|{{:*^7}}'.format({s}, {s})",
            "'{{:,}} {{:05d}} {{:x}}'.format({n}, {n}, {i})", "'{{:.2f}} {{:e}} {{:10.3g}}'.format({f}, {f}, {f})", "{s}.removeprefix({s})", "{s}|string|reverse",
            "{s}.partition({s})[{z}]", "{l}|first|string", "{s}|urlencode", "{s}.split({s})|join('/')", "{d}|dictsort|string", "{s}.splitlines()|join('|')",
        ]).format(s=t("str"), a=t("any"), n=t("int"), l=t("list"), b=t("bool"), f=t("num"), d=t("dict"), i=rng.randint(0, 12), z=rng.randint(0, 2))
    if kind == "int":
        if leaf:
            return rng.choice(["n", "0", "1", "2", "3", "-1", "-7", "10", "255", "0x1F", "lo|length", "l[0]", "10000000000"])
        return rng.choice(["({n} + {n})", "({n} - {n})", "({n} * {n})", "({n} // {n})", "({n} % {n})", "{s}|length", "{l}|length", "(-{n})", "{f}|int",
                           "{s}|int", "{s}|int(-1, 16)", "{s}.find({s})", "{s}.rfind({s})", "{s}.count({s})", "{n}|abs", "({n} if {b} else {n})",
                           "{s}|wordcount", "({n} ** {i})", "{l}.count({a})", "[{n}, {n}]|max", "[{n}, {n}]|sum"]).format(
            n=t("int"), s=t("str"), l=t("list"), f=t("num"), b=t("bool"), a=t("any"), i=rng.randint(0, 5))
    if kind == "num":
        if leaf:
            return rng.choice(["f", "1.5", "0.1", "1e3", "2.0", "-2.5", "1e-7", "123456.789", "1e22", "0.5", "1e16", "5e-324", "1e15", "0.1", typed(rng, 0, "int")])
        return rng.choice(["({n} + {n})", "({n} - {n})", "({n} * {n})", "({n} / {n})", "({n} // {n})", "({n} % {n})", "{n}|round", "{n}|round({i})", "{n}|float",
                           "{n}|round({i}, 'ceil')", "{n}|round({i}, 'floor')", "{s}|float", "(-{n})", "{n}|abs", "({n} ** {i})", "[{n}, {n}]|min", "[{n}, {n}, {n}]|sum"]).format(
            n=t("num"), s=t("str"), i=rng.randint(-2, 4))
    if kind == "bool":
        if leaf:
            return rng.choice(["true", "false", "t", "missing is defined", "s is string"])
        return rng.choice(["({n} < {n})", "({n} >= {n})", "({s} < {s})", "({a} == {a})", "({s} in {s})", "({a} in {l})", "({s} not in {d})", "(not {a})",
                           "({a} is {t})", "({a} is not {t})", "({n} < {n} <= {n})", "({l} == {l})", "{s}.startswith({s})", "{s}.endswith(({s}, {s}))",
                           "({n} is odd)", "({n} is divisibleby 3)", "({b} and {b})", "({b} or {b})", "{s}.isalnum()", "{s}.istitle()", "({s} is upper)"]).format(
            n=t("num"), s=t("str"), a=t("any"), l=t("list"), d=t("dict"), b=t("bool"), t=rng.choice(TESTS0[:14]))
    if kind == "list":
        if leaf:
            return rng.choice(["l", "ls", "lo", "e", "mixed", "[]", "[1, 'a', none]", "range(4)", "(1, 2)", "nest.x.a"])
        return rng.choice(["[{a}, {a}]", "({a}, {a})", "({l} + {l})", "({l} * {i})", "{s}.split()", "{s}.split({s})", "{s}.rsplit({s}, 1)", "{s}|list", "{l}|list",
                           "{l}[{n}:]", "{l}[::-1]", "{l}[{n}:{n}:-1]", "{d}.items()|list", "{d}.values()|list", "{d}|dictsort", "{d}|list", "{l}|reverse|list",
                           "ls|sort", "ls|sort(true, true)", "l|sort(reverse=true)", "lo|sort(attribute='a')", "lo|groupby('a')|list", "lo|map(attribute='a')|list",
                           "lo|selectattr('a', '==', {n})|list", "lo|rejectattr('b')|list", "{l}|map('string')|list", "{l}|select|list", "{l}|reject('none')|list",
                           "{l}|select('string')|map('upper')|list", "({l}|map('string')|unique|list)", "{l}|batch({i}, {a})|list", "{l}|slice(3, {a})|list",
                           "{s}.splitlines(true)", "{s}.partition({s})", "range({i}, 12, 3)|list", "({l} if {b} else {l})", "lo|map(attribute='b', default={a})|list"]).format(
            a=t("any"), l=t("list"), s=t("str"), n=t("int"), d=t("dict"), b=t("bool"), i=rng.randint(0, 4))
    if kind == "dict":
        if leaf:
            return rng.choice(["d", "{}", "lo[1]", "nest", "{'k': 1, 2: 'v'}", "dict(a=1, b=[2])"])
        return rng.choice(["{{{s}: {a}, {n}: {a}}}", "{{'a': {a}, 'z': {d}}}", "dict({d}, q={a})", "dict([({s}, {a})])", "{d}.copy()", "({d} if {b} else {d})"]).format(
            s=t("str"), a=t("any"), n=t("num"), d=t("dict"), b=t("bool"))
    return typed(rng, depth, rng.choice(["str", "int", "num", "bool", "list", "dict"])) if rng.random() < 0.9 else gen(rng, 1)


def gen(rng, depth):
    if rng.random() < 0.55:
        return typed(rng, depth, "any")
    if depth <= 0 or rng.random() < 0.12:
        k = rng.randint(0, 9)
        if k <= 3:
            return rng.choice(list(VARS) + ["missing"])
        if k <= 5:
            return '"' + rng.choice(STRINGS) + '"'
        if k <= 7:
            return rng.choice(["0", "1", "2", "3", "-1", "10", "255", "99999", "0x1F", "1_000"])
        if k == 8:
            return rng.choice(["1.5", "0.1", "1e3", "2.0", "1e-7", "123456.789", "1e22"])
        return rng.choice(["true", "false", "none", "[]", "{}", "()"])
    g = lambda: gen(rng, depth - 1)
    k = rng.randint(0, 27)
    if k <= 2:
        return f"({g()} {rng.choice(['+', '-', '*', '/', '//', '%', '~', '+', '*'])} {g()})"
    if k == 3:
        return f"({g()} {rng.choice(['==', '!=', '<', '<=', '>', '>='])} {g()})"
    if k == 4:
        return f"({g()} {rng.choice(['==', '<', '>='])} {g()} {rng.choice(['!=', '<=', '>'])} {g()})"
    if k == 5:
        return f"({g()} {rng.choice(['in', 'not in'])} {g()})"
    if k == 6:
        return f"({g()} {rng.choice(['and', 'or'])} {g()})"
    if k == 7:
        return rng.choice(["(not {})", "(-{})", "(+{})"]).format(g())
    if k == 8:
        return f"({g()} if {g()} else {g()})"
    if k == 9:
        return f"{g()}[{g()}]"
    if k == 10:
        part = lambda: rng.choice(["", "1", "-1", "2", "0", "-3", "5", g()])
        return f"{g()}[{part()}:{part()}{rng.choice(['', ':' + rng.choice(['1', '2', '-1', '-2', '0', '3'])])}]"
    if k == 11:
        return f"{g()}.{rng.choice(ATTRS)}"
    if k <= 13:
        return f"{g()}|{rng.choice(FILTERS0)}"
    if k == 14:
        return f"({g()} is {rng.choice(['', 'not '])}{rng.choice(TESTS0)})"
    if k == 15:
        return f"({g()} is {rng.choice(['eq', 'ne', 'lt', 'gt', 'in', 'divisibleby', 'ge', 'le', 'equalto'])}({g()}))"
    if k == 16:
        return f"{g()}.{rng.choice(METHODS0)}()"
    if k == 17:
        m = rng.choice(["split", "strip", "lstrip", "rstrip", "startswith", "endswith", "find", "rfind", "count", "index",
                        "join", "removeprefix", "removesuffix", "partition", "rpartition", "get", "rsplit", "zfill", "ljust",
                        "center", "rjust", "splitlines", "format"])
        return f"{g()}.{m}({g()}{rng.choice(['', '', ', ' + g()])})"
    if k == 18:
        return f"{g()}.replace({g()}, {g()}{rng.choice(['', ', 1', ', -1', ', 0'])})"
    if k == 19:
        return "[" + ", ".join(g() for _ in range(rng.randint(0, 4))) + "]"
    if k == 20:
        return "(" + "".join(g() + ", " for _ in range(rng.randint(1, 3))) + ")"
    if k == 21:
        return "{" + ", ".join(f"{g()}: {g()}" for _ in range(rng.randint(0, 3))) + "}"
    if k == 22:
        f = rng.choice(["default({}, true)", "default({})", "join({})", "replace({}, 'q')", "round({})", "round(1, 'ceil')",
                        "round(2, 'floor')", "indent({})", "indent(2, true, true)", "trim({})", "truncate(5)", "center(12)",
                        "truncate(7, true, '~', 0)", "int({})", "float({})", "batch({})", "batch(2, {})", "slice(2)",
                        "slice(3, {})", "sum('a')", "sum(start={})", "attr('a')", "attr({})", "int(0, 16)", "format({})",
                        "dictsort(true)", "dictsort(false, 'value')", "dictsort(reverse=true)"]).format(g())
        return f"{g()}|{f}"
    if k == 23:
        f = rng.choice(["sort(reverse=true)", "sort(case_sensitive=true)", "sort(attribute='a')", "sort(attribute='a,b')",
                        "groupby('a')", "groupby('b', default='z')", "map('upper')", "map(attribute='a')", "map('int')",
                        "map(attribute='name', default={})", "map('default', {})", "select('odd')", "select('gt', {})",
                        "reject('none')", "selectattr('b')", "selectattr('a', 'eq', {})", "rejectattr('b', 'defined')",
                        "unique(true)", "unique(attribute='a')", "min(attribute='a')", "max(attribute='a')", "min(true)",
                        "selectattr('name', 'defined')", "join(',', attribute='a')", "map('string')", "map('tojson')"]).format(g())
        return f"{g()}|{f}{rng.choice(['|list', '|list', '|join', '|first', ''])}"
    if k == 24:
        f = rng.choice(["tojson(indent=2)", "tojson(sort_keys=true)", "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))",
                        "tojson(indent=none)", "tojson(true, 4)", "tojson(indent='>')"])
        return f"{g()}|{f}"
    if k == 25:
        return f"({rng.choice(['%s', '%5s|%-5s', '%d', '%05.1f', '%x %o', '%(a)s', '%%', '%r', '%.2e', '%+d', '%g', 'no'])!r} % {g()})"
    if k == 26:
        spec = rng.choice(["{}", "{0} {1}", "{:>8}", "{:05d}", "{:.2f}", "{!r}", "{{}}", "{:,}", "{:x}", "{0[a]}", "{:^9}", "{:%}", "{a}"])
        return f"{spec!r}.format({g()}, {rng.choice(['', 'a='])}{g()})"
    return rng.choice(["range({})", "dict(a={})", "namespace(a={}).a", "range(1, {}, 2)|list", "dict({})"]).format(g())


def statement(rng, depth):
    e = lambda: gen(rng, rng.randint(0, 2))
    if depth <= 0 or rng.random() < 0.3:
        return rng.choice(["{{ %s }}", " {{- %s -}} \n", "\n  {{ %s }}\n", "text\n"]).replace("%s", e())
    s = lambda: "".join(statement(rng, depth - 1) for _ in range(rng.randint(0, 3)))
    o, c = rng.choice([("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}"), ("{%+", "%}"), ("{%", "+%}")])
    name = rng.choice(["x", "y", "n", "s"])
    loop = rng.choice(["{{ loop.index }}", "{{ loop.last }}", "{{ loop.length }}", "{{ loop.previtem }}{{ loop.nextitem }}",
                       "{{ loop.revindex }}", "{{ loop.cycle(1, 2) }}", "{% if loop.first %}{% continue %}{% endif %}",
                       "{% if loop.index == 2 %}{% break %}{% endif %}", "{{ loop.changed(x) }}", ""])
    k = rng.randint(0, 11)
    ws = rng.choice(["", "\n", "  ", "\n    ", " \n\n "])
    if k == 0:
        return f"{ws}{o} if {e()} {c}{s()}{ws}{o} elif {e()} {c}{s()}{o} else {c}{s()}{ws}{o} endif {c}{ws}"
    if k <= 2:
        cond = rng.choice(["", "", f" if {e()}", " if x"])
        els = rng.choice(["", "{% else %}" + s()])
        return f"{ws}{o} for {name} in {e()}{cond} {c}{loop}{s()}{{{{ {name} }}}}{els}{ws}{o} endfor {c}{ws}"
    if k == 3:
        return f"{o} for a, b in {e()} {c}{s()}{{{{ a ~ b }}}}{loop}{o} endfor {c}"
    if k <= 5:
        return f"{ws}{o} set {name} = {e()} {c}{ws}"
    if k == 6:
        flt = rng.choice(["", "|upper", "|trim|length"])
        return f"{o} set {name}{flt} {c}{s()}{o} endset {c}"
    if k == 7:
        return (f"{o} macro m(x, y={e()}) {c}{s()}{{{{ x }}}}{rng.choice(['', '{{ varargs }}', '{{ kwargs }}', '{{ caller() }}'])}"
                f"{o} endmacro {c}{{{{ {rng.choice(['m(1)', 'm()', 'm(y=2, x=3)', 'm(1, 2, 3)', 'm(1, q=4)', 'm'])} }}}}")
    if k == 8:
        return f"{o} filter {rng.choice(['upper', 'trim', 'replace(1, 2)', 'indent(3)'])} {c}{s()}{o} endfilter {c}"
    if k == 9:
        return f"{o} with {name} = {e()}, q = {name} {c}{s()}{{{{ q }}}}{o} endwith {c}"
    if k == 10:
        return f"{o} set ns = namespace(v=0) {c}{o} for i in {e()} {c}{o} set ns.v = {rng.choice(['ns.v + 1', 'i', 'ns.v ~ i'])} {c}{o} endfor {c}{{{{ ns.v }}}}"
    return rng.choice([f"{o} raw {c} {{{{ x }}}} {{% y %}} {o} endraw {c}{ws}", f"{{#{rng.choice(['', '-', '+'])} c #}}{ws}",
                       f"{ws}{{#- c -#}}{ws}", f"{o} call m(1) {c}{s()}{o} endcall {c}",
                       f"{o} generation {c}{s()}{o} endgeneration {c}"])


def write_golden(path, snippets, models):
    """Conversations of our own under the templates of Qwen2.5 and of the demo model."""
    qwen = models["Qwen/Qwen2.5-3B-Instruct"]
    out = []
    for name, template, special in (("Qwen2.5", qwen["template"], qwen["special_tokens"]),
                                    ("SmolLM2-135M-Instruct", template_snippets.SMOLLM2,
                                     {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})):
        cases = []
        for conv in template_snippets.CONVERSATIONS:
            v = dict(special, tools=None, add_generation_prompt=True)
            v.update(conv)
            cases.append({"vars": v, "text": reference(template, v)[0]})
        out.append({"name": name, "template": template, "cases": cases})
    with open(path, "w") as f:
        json.dump({"made_by": "scripts/diff_template.py --golden", "vars": VARS, "now_s": NOW, "snippets": snippets,
                   "models": out}, f, ensure_ascii=False, indent=0)
        f.write("\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--tool", required=True)
    ap.add_argument("--cases")
    ap.add_argument("--templates", help="a folder of *.jinja files, for --conversations")
    ap.add_argument("--conversations", type=int, default=0)
    ap.add_argument("--marks", action="store_true", help="check who wrote which byte, too")
    ap.add_argument("--expressions", type=int, default=0)
    ap.add_argument("--statements", type=int, default=0)
    ap.add_argument("--snippets", action="store_true")
    ap.add_argument("--golden")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--verbose", action="store_true")
    a = ap.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))  # 'a' * 99999 * 99999 in the reference
    tool, rng, ok, golden = Tool(a.tool), random.Random(a.seed), True, []
    models = json.load(open(a.cases)) if a.cases else {}
    for path in sorted(glob.glob(os.path.join(a.templates, "**", "*.jinja"), recursive=True)) if a.templates else []:
        models[os.path.relpath(path, a.templates)] = {"template": open(path, encoding="utf-8").read(), "cases": [],
                                                      "special_tokens": {"bos_token": "<s>", "eos_token": "</s>"}}
    if a.cases:
        score = Score(a.verbose)
        for name, model in models.items():
            for case in model["cases"]:
                v = case_vars(model, case)
                want, _ = score.add(tool, f"{name}/{case['description']}", model["template"], v)
                got = tool.render(model["template"], v).get("text")
                if got != case["expected"]:
                    score.different.append(f"{name}/{case['description']} against the file")
                    print(score.different[-1], "reference agrees" if want == case["expected"] else "reference differs too")
        ok &= score.report("cases")
    if a.conversations:
        score, tokens, wrong = Score(a.verbose), 0, 0
        for i in range(a.conversations):
            name = list(models)[i % len(models)]
            variables = conversation(rng, models[name])
            score.add(tool, f"{name} #{i}", models[name]["template"], variables)
            if a.marks:
                n = check_marks(tool, f"{name} #{i}", models[name]["template"], variables, models[name]["special_tokens"])
                tokens, wrong = tokens + (n or 0), wrong + (n is None)
        ok &= score.report("conversations") and not wrong
        if a.marks:
            print(f"marks: {tokens} control tokens of the templates looked at, {wrong} conversations wrong")
    for kind, n in (("expressions", a.expressions), ("statements", a.statements)):
        if n:
            score = Score(a.verbose)
            for i in range(n):
                t = "{{ " + gen(rng, rng.randint(1, 4)) + " }}" if kind == "expressions" else \
                    "".join(statement(rng, 3) for _ in range(rng.randint(1, 4)))
                same = score.same + score.errors
                want, _ = score.add(tool, f"{kind} #{i}", t, VARS)
                share = 0.1 if want else 0.01
                if score.same + score.errors > same and len(t) < 160 and len(want or "") < 160 and rng.random() < share:
                    golden.append({"template": t, "text": want})
            ok &= score.report(kind)
    if a.snippets or a.golden:
        score = Score(a.verbose)
        for t in template_snippets.SNIPPETS:
            same = score.same + score.errors
            want, _ = score.add(tool, t, t, VARS)
            if score.same + score.errors > same:
                golden.append({"template": t, "text": want})
        ok &= score.report("snippets")
    if a.golden:
        write_golden(a.golden, golden, models)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
