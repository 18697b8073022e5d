#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kernels.py - what the compiler made of the CUDA kernels, judged without a GPU.

    kernels.py check  --build DIR --tools DIR   every kernel against the gates and cuda/gates.tsv
    kernels.py accept --build DIR --tools DIR   write what is measured as the new cuda/gates.tsv, and what
                                                tests/test_cuda_moves counts as the new cuda/moves.tsv
    kernels.py doc    --build DIR               write the tables of docs/kernels.md: cuda/gates.tsv,
                                                cuda/moves.tsv, what octavo bench kernels predicts
    kernels.py self-test [--build DIR]          the tool itself

Gates, for each kernel of the library and each of sm_80 and sm_90a: no spills, no stack, no local
memory, no calls in the hot loop, no fp64, the instructions that RULES asks for and none of those it
forbids, shared memory and occupancy by the plan's own blocks, code and loop small enough for the
instruction cache. Against the committed table: no number worse by more than 2 %.

--build  a build folder: cuda/*.fatbin, cuda/*.ptxas and tests/kernel_plans in it
--tools  a folder with nvdisasm and cuobjdump (scripts/check_kernels.sh finds or fetches them)

The hot loop is the loop with the most matrix instructions, else the most 16-byte loads; of its
paths the one that has most of both and least stalls. Its stall sum is that of the control words:
what the compiler makes one warp wait between instructions, without memory. eta = matrix
instructions * their clocks (8 on sm_80, 4 on sm_90 for 16x8x16) / stall sum.

Live registers: the most that nvdisasm sees alive at one instruction (-plr). It follows no predicates:
what is written under one only counts as alive before, too.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "cuda/gates.tsv"
MOVES = ROOT / "cuda/moves.tsv"
DOC = ROOT / "docs/kernels.md"
MAX_CODE, MAX_LOOP = 96 * 1024, 16 * 1024
SLACK = 1.02
MMA = r"HMMA\.16816\.F32\.BF16"
MMA_CLOCKS = {"sm_80": 8, "sm_90a": 4}

# First row whose name matches. need: instructions, as regular expressions; allow: of FORBID, those
# that this one may have; narrow: the most loads and stores of global memory of less than 16 bytes
# (numbers of rows, pages and the like; None: not looked at); warps: the least of warps an SM; code,
# loop: the most bytes of the kernel and of its hot loop; live: the most live registers on sm_80.
Rule = collections.namedtuple("Rule", "name need allow narrow warps code loop live",
                              defaults=[MAX_CODE, MAX_LOOP, 255])
WIDE = [r"LDG\.E\S*\.128", r"STG\.E\S*\.128"]
FORBID = [r"LDL\b", r"STL\b", r"D(ADD|MUL|FMA|SETP|MNMX)\b", r"F2F\S*F64", r"HMMA\.(?!16816\.F32\.BF16)",
          r"IMMA", r"DMMA"]
PREFILL = [MMA, r"LDSM\.16\.M88\.4", r"LDSM\.16\.MT88\.4", r"LDGSTS\.E\S*\.128", r"MUFU\.EX2"]
RULES = [
    Rule(r"embed_b16", WIDE, [], None, 48),
    Rule(r"rmsnorm_b16_long", WIDE, [], 1, 32),
    Rule(r"rmsnorm_b16_v\d", WIDE, [], 1, 32),
    Rule(r"silu_mul_b16", WIDE, [], 0, 64),
    Rule(r"kv_copy_16", WIDE, [], 2, 48),
    Rule(r"rope_kv_b16_d\d+", WIDE, [], 3, 32),
    Rule(r"rope_kv_b16_any", [], [], None, 16),
    Rule(r"gemm_b16_", [MMA, r"LDSM\.16\.M88\.4", r"LDGSTS\.E\S*\.128"], [], None, 4),
    # A page of keys by 256, unrolled: twice the loop of 128.
    Rule(r"attn_prefill\S*_d256", PREFILL, [], None, 4, MAX_CODE, 28 * 1024, 250),
    Rule(r"attn_prefill", PREFILL, [], None, 4, live=250),
    Rule(r"attn_decode", [MMA, r"LDGSTS\.E\S*\.128", r"MUFU\.EX2"], [], None, 4),
    # u is an fp64 number by contract.
    Rule(r"sample_pick", [], [r"D(ADD|MUL|FMA|SETP)\b", r"F2F"], None, 8),
    Rule(r"sample_", [], [], None, 8),
]

# ---- reading SASS ----

Inst = collections.namedtuple("Inst", "at guard op args stall live")


class Broken(Exception):
    """Something that the tool reads does not look as expected."""


def parse_sass(text):
    """{function: ([Inst], {label: address})} of nvdisasm -hex -plr -lrm count -c."""
    found, code, labels, pending = {}, None, None, None
    for line in text.splitlines():
        if m := re.match(r"//-+ \.text\.(\S+)", line):
            code, labels = [], {}
            found[m[1]] = (code, labels)
        elif code is None:
            continue
        elif m := re.match(r"(\.L_x_\d+|\.L_\d+):", line):
            labels[m[1]] = 16 * len(code)
        elif m := re.match(r"\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;\s*/\* 0x[0-9a-f]{16} \*/", line):
            pending = (int(m[1], 16), m[2])
        elif pending and (m := re.match(r"\s+/\* 0x([0-9a-f]{16}) \*/(?:\s+// \|\s*(\d*)\s*\|)?", line)):
            at, words = pending
            pending = None
            if at != 16 * len(code):
                raise Broken(f"instruction at {at:#x}, {16 * len(code):#x} expected")
            m2 = re.match(r"(?:@(!?U?P\w+) )?(\S+)\s*(.*)", words)
            code.append(Inst(at, m2[1], m2[2], m2[3], int(m[1], 16) >> 41 & 15, int(m[2] or 0)))
    return found


def trimmed(code):
    """Without the padding at the end: a branch to itself and NOPs."""
    n = len(code)
    while n and code[n - 1].op == "NOP":
        n -= 1
    if n and code[n - 1].op == "BRA" and code[n - 1].args.endswith(f"{code[n - 1].at:#x}"):
        n -= 1
    elif n and code[n - 1].op == "BRA":  # `(.L_x_n) with the label on itself
        n -= 1
    return code[:n] if n else code


Block = collections.namedtuple("Block", "first last to")  # instructions [first, last), successors


def branch_target(inst, labels):
    if m := re.search(r"`\((\.L\w+)\)", inst.args):
        return labels.get(m[1])
    return None


def is_call(inst):
    """CALL to a label of its own function is ptxas's far jump: nothing returns from there."""
    return inst.op.startswith("CALL") and "`(.L" not in inst.args


def is_jump(inst):
    return re.match(r"(BRA|JMP|CALL)\b", inst.op) and not is_call(inst) and \
        "DIV" not in inst.op


def blocks_of(code, labels):
    """Basic blocks in order of address. Calls and barriers of divergence end none. Left out are the
    ways of warps that have diverged: where BRA.DIV leads to, and what follows BRA.CONV."""
    jumps = {}
    for i, inst in enumerate(code):
        if is_jump(inst):
            target = branch_target(inst, labels)
            if target is not None:
                jumps[i] = target // 16
    ends = {i for i, inst in enumerate(code)
            if is_jump(inst) or re.match(r"(EXIT|RET|BRX|JMX)\b", inst.op)}
    starts = sorted({0} | {t for t in jumps.values() if t < len(code)} |
                    {i + 1 for i in ends if i + 1 < len(code)})
    number = {s: b for b, s in enumerate(starts)}
    blocks = []
    for b, first in enumerate(starts):
        last = starts[b + 1] if b + 1 < len(starts) else len(code)
        inst, to = code[last - 1], []
        always = not inst.guard and not re.match(r"!?U?P\d", inst.args)
        if last - 1 in jumps and jumps[last - 1] in number:
            to.append(number[jumps[last - 1]])
        if last - 1 not in ends or not always:
            if last in number:
                to.append(number[last])
        blocks.append(Block(first, last, to))
    return blocks


def dominators(blocks):
    """Of each block the set of blocks on every path to it, as bits; 0 where nothing leads."""
    n = len(blocks)
    before = [[] for _ in range(n)]
    for b, block in enumerate(blocks):
        for t in block.to:
            before[t].append(b)
    reached, todo = {0}, [0]
    while todo:
        for t in blocks[todo.pop()].to:
            if t not in reached:
                reached.add(t)
                todo.append(t)
    before = [[p for p in ps if p in reached] for ps in before]
    every = (1 << n) - 1
    dom = [1] + [every] * (n - 1)
    changed = True
    while changed:
        changed = False
        for b in range(1, n):
            new = every
            for p in before[b]:
                new &= dom[p]
            new |= 1 << b
            if new != dom[b]:
                dom[b], changed = new, True
    return [d if b in reached else 0 for b, d in enumerate(dom)], before


def weight(inst, staged):
    """What a path is worth: matrix instructions, 16-byte loads, less stalls. staged: the kernel
    brings its operands to shared memory, other loads are asides."""
    wide = re.match(r"(LDGSTS\S*\.128|LDS\S*\.128|LDSM)" if staged else r"LDG\S*\.128", inst.op)
    stall = 1000 if is_call(inst) else max(inst.stall, 1)  # the way around a call is the usual one
    return (1 if re.match(r"[HI]G?MMA", inst.op) else 0, 1 if wide else 0, -stall)


def best_path(code, blocks, inside, head, latch):
    """Blocks of the path head .. latch of the greatest weight."""
    best = {head: None}
    total = {}
    staged = any(i.op.startswith("LDGSTS") for i in code)

    def own(b):
        parts = [weight(i, staged) for i in code[blocks[b].first:blocks[b].last]]
        return tuple(map(sum, zip(*parts)))

    # Order by address is a topological order but for jumps back to what stands earlier: relax until
    # nothing changes, without following the edges that close inner loops.
    total[head] = own(head)
    order = sorted(inside)
    for _ in range(len(order)):
        changed = False
        for b in order:
            if b not in total:
                continue
            for t in blocks[b].to:
                if t not in inside or t == head or blocks[t].first <= blocks[b].first:
                    continue
                value = tuple(x + y for x, y in zip(total[b], own(t)))
                if t not in total or value > total[t]:
                    total[t], best[t], changed = value, b, True
        if not changed:
            break
    if latch not in total:
        return None
    path, b = [], latch
    while b is not None:
        path.append(b)
        b = best[b]
    return path[::-1], total[latch]


Loop = collections.namedtuple("Loop", "insts n_mma n_loads stall span")


def hot_loop(code, labels):
    """The Loop of the steady state, or None."""
    blocks = blocks_of(code, labels)
    dom, before = dominators(blocks)
    loops = []
    for latch, block in enumerate(blocks):
        for head in block.to:
            if dom[latch] >> head & 1 == 0:
                continue
            inside, todo = {head, latch}, [latch] if latch != head else []
            while todo:
                for p in before[todo.pop()]:
                    if p not in inside:
                        inside.add(p)
                        todo.append(p)
            path = best_path(code, blocks, inside, head, latch)
            if path is None:
                continue
            insts = [i for b in path[0] for i in code[blocks[b].first:blocks[b].last]]
            span = max(blocks[b].last for b in inside) - min(blocks[b].first for b in inside)
            stall = sum(max(i.stall, 1) for i in insts)
            loops.append(Loop(insts, path[1][0], path[1][1], stall, 16 * span))
    if not loops:
        return None
    most = max(l.n_mma for l in loops)
    if most:
        return min((l for l in loops if 2 * l.n_mma >= most), key=lambda l: (l.stall / l.n_mma, l.span))
    most = max(l.n_loads for l in loops)
    if not most:
        return None
    return min((l for l in loops if 2 * l.n_loads >= most), key=lambda l: (l.stall / l.n_loads, l.span))


# ---- reading what ptxas said ----

def parse_ptxas(text):
    """{(kernel, arch): {regs, spills, stack, smem}}"""
    rows, now = {}, None
    for line in text.splitlines():
        if m := re.search(r"Compiling entry function '(\S+)' for '(\S+)'", line):
            now = rows.setdefault((m[1], m[2]), {"smem": 0})
        elif now is not None and (m := re.search(
                r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line)):
            now["stack"], now["spills"] = int(m[1]), int(m[2]) + int(m[3])
        elif now is not None and (m := re.search(r"Used (\d+) registers", line)):
            now["regs"] = int(m[1])
            if s := re.search(r"(\d+) bytes smem", line):
                now["smem"] = int(s[1])
    for (kernel, arch), row in rows.items():
        missing = {"regs", "spills", "stack"} - row.keys()
        if missing:
            raise Broken(f"ptxas said nothing of {', '.join(sorted(missing))} of {kernel} for {arch}")
    return rows


# ---- occupancy ----

def occupancy(arch, threads, regs, smem):
    """Blocks an SM of an A100 or H100, as cuda_occupancy.h has it. smem: of a block in all."""
    per_sm, reserved = (167936 if arch == "sm_80" else 233472), 1024
    warps = -(-threads // 32)
    by_warps = 64 // warps
    # Registers come by 256 a warp; a quarter of an SM has 16384 of them and whole warps.
    of_warp = -(-regs * 32 // 256) * 256
    by_regs = 16384 // of_warp * 4 // warps
    by_smem = per_sm // (-(-(smem + reserved) // 128) * 128)
    return min(by_warps, by_regs, by_smem, 32)


# ---- the table ----

COLUMNS = ["kernel", "arch", "threads", "smem", "regs", "live", "spills", "blocks_per_sm", "code_bytes",
           "instructions", "loop", "loop_mma", "loop_loads", "stall", "eta"]
# Columns that may not grow by more than SLACK, and those that may not shrink.
GROW = ["smem", "regs", "live", "code_bytes", "instructions", "loop", "stall"]
SHRINK = ["blocks_per_sm", "eta"]


def measure(kernel, arch, code, labels, ptxas, plans):
    """The row of the plans' largest block, and the findings."""
    code = trimmed(code)
    if not code:
        raise Broken(f"{kernel} for {arch} has no instructions")
    loop = hot_loop(code, labels)
    bad = []
    rule = next((r for r in RULES if re.match(r.name, kernel)), None)
    if rule is None:
        bad.append("no row of RULES in scripts/kernels.py says what it must be made of")
        rule = Rule(kernel, [], [], None, 1)
    ops = [i.op for i in code]
    bad += [f"no {n}" for n in rule.need if not any(re.match(n, o) for o in ops)]
    for f in FORBID:
        if hits := [o for o in ops if re.match(f, o) and not any(re.match(w, o) for w in rule.allow)]:
            bad.append(f"{len(hits)} times {hits[0]}")
    if arch == "sm_90a" and "ACQBULK" not in ops:
        bad.append("no ACQBULK: it must wait for its predecessor (k_pdl_wait)")
    if rule.narrow is not None:
        narrow = [o for o in ops if re.match(r"(LDG|STG)\b", o) and "128" not in o]
        if len(narrow) > rule.narrow:
            bad.append(f"{len(narrow)} narrow accesses of global memory ({narrow[0]}), {rule.narrow} allowed")
    if ptxas["spills"] or ptxas["stack"]:
        bad.append(f"{ptxas['spills']} bytes of spills, {ptxas['stack']} of stack")
    if loop and any(is_call(i) for i in loop.insts):
        bad.append("a call in the hot loop")
    if 16 * len(code) > rule.code:
        bad.append(f"{16 * len(code)} bytes of code, at most {rule.code}")
    if loop and 16 * len(loop.insts) > rule.loop:
        bad.append(f"a loop of {16 * len(loop.insts)} bytes, at most {rule.loop}")
    live = max(i.live for i in code)
    if not 0 < live <= ptxas["regs"]:
        raise Broken(f"{kernel} for {arch}: {live} live registers of {ptxas['regs']}")
    if arch == "sm_80" and live > rule.live:
        bad.append(f"{live} live registers, at most {rule.live}")
    if loop and rule.need and rule.need[0] == MMA and not loop.n_mma:
        bad.append("no matrix instruction in the hot loop")
    rows = []
    limit = 166912 if arch == "sm_80" else 232448
    for threads, dynamic in sorted(plans):
        smem = dynamic + ptxas["smem"]
        blocks = occupancy(arch, threads, ptxas["regs"], smem)
        if smem > limit:
            bad.append(f"{smem} bytes of shared memory, at most {limit}")
        elif blocks < 1:
            bad.append(f"a block of {threads} threads does not fit")
    if plans:
        if blocks * -(-threads // 32) < rule.warps:
            bad.append(f"{blocks} blocks of {threads} threads an SM: {rule.warps} warps are wanted")
        eta = f"{loop.n_mma * MMA_CLOCKS[arch] / loop.stall:.3f}" if loop and loop.n_mma else "-"
        stall = sum(max(i.stall, 1) for i in code)
        rows.append(dict(zip(COLUMNS, [
            kernel, arch, threads, smem, ptxas["regs"], live, ptxas["spills"] + ptxas["stack"], blocks,
            16 * len(code), len(code), len(loop.insts) if loop else "-", loop.n_mma if loop else "-",
            loop.n_loads if loop else "-", loop.stall if loop else stall, eta])))
    if not rows:
        bad.append("no plan launches it (tests/cuda/kernel_plans.c)")
    return rows, [f"{kernel} {arch}: {b}" for b in bad]


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[:300]}")
    return done.stdout


def compiler_of(image):
    """The compiler's release, out of a fatbin's or cubin's notes."""
    m = re.search(rb"Cuda compilation tools, release [\d.]+, (V[\d.]+)", image)
    return m[1].decode().rstrip(".") if m else None


def collect(build, tools):
    """Rows, findings and the compiler of all that was built."""
    fatbins = sorted((build / "cuda").glob("*.fatbin"))
    wanted = re.search(r"K_CU_FILES ([^)]*)\)", (ROOT / "cuda/CMakeLists.txt").read_text())[1].split()
    if sorted(f.stem for f in fatbins if f.stem + ".cu" in wanted) != sorted(w[:-3] for w in wanted):
        raise Broken(f"{build}/cuda does not hold the kernels of cuda/CMakeLists.txt: build it")
    plans = collections.defaultdict(list)
    for line in run(build / "tests/kernel_plans").splitlines():
        kernel, sm, threads, smem = line.split("\t")
        plans[kernel, {"80": "sm_80", "90": "sm_90a"}[sm]].append((int(threads), int(smem)))
    rows, bad, compiler, seen = [], [], None, set()
    for fatbin in fatbins:
        if fatbin.stem + ".cu" not in wanted:
            continue
        said = parse_ptxas(fatbin.with_suffix(".ptxas").read_text())
        with tempfile.TemporaryDirectory() as tmp:
            subprocess.run([str((tools / "cuobjdump").resolve()), "-xelf", "all", str(fatbin.resolve())],
                           cwd=tmp, check=True, capture_output=True)
            for cubin in sorted(pathlib.Path(tmp).glob("*.cubin")):
                arch = re.search(r"(sm_\d+a?)\.cubin$", cubin.name)[1]
                compiler = compiler_of(cubin.read_bytes()) or compiler
                sass = run(tools / "nvdisasm", "-hex", "-plr", "-lrm", "count", "-c", cubin)
                for kernel, (code, labels) in parse_sass(sass).items():
                    if (kernel, arch) not in said:
                        raise Broken(f"{fatbin.stem}.ptxas has no {kernel} for {arch}")
                    seen.add((kernel, arch))
                    new, wrong = measure(kernel, arch, code, labels, said[kernel, arch],
                                         plans[kernel, arch])
                    rows += new
                    bad += wrong
    for kernel, arch in sorted(set(plans) - seen):
        if plans[kernel, arch]:
            raise Broken(f"{kernel} for {arch} is launched but not in the fatbins")
    if not rows:
        raise Broken("no kernels found")
    return sorted(rows, key=lambda r: (r["kernel"], r["arch"], r["threads"])), bad, compiler


def write_table(rows, compiler):
    lines = [f"# made by scripts/kernels.py accept; nvcc {compiler}", "\t".join(COLUMNS)]
    lines += ["\t".join(str(r[c]) for c in COLUMNS) for r in rows]
    TABLE.write_text("\n".join(lines) + "\n")


def read_table(text):
    lines = text.splitlines()
    if len(lines) < 3 or lines[1].split("\t") != COLUMNS:
        raise Broken("cuda/gates.tsv is not a table of this tool; write it with scripts/kernels.py accept")
    rows = [dict(zip(COLUMNS, line.split("\t"))) for line in lines[2:]]
    return rows, lines[0].split()[-1]


def compare(rows, old):
    """Findings: what is worse than the committed table."""
    def key(r):
        return r["kernel"], r["arch"]
    bad, left = [], {key(r): r for r in old}
    for row in rows:
        name = " ".join(map(str, key(row)))
        was = left.pop(key(row), None)
        if was is None:
            bad.append(f"{name} is not in the table")
            continue
        for c in GROW + SHRINK:
            if (was[c] == "-") != (row[c] == "-"):
                bad.append(f"{name}: {c} {row[c]}, was {was[c]}")
                continue
            if was[c] == "-":
                continue
            now, then = float(row[c]), float(was[c])
            if now > then * SLACK + 1e-9 if c in GROW else now < then / SLACK - 1e-9:
                bad.append(f"{name}: {c} {row[c]}, was {was[c]}")
    return bad + [f"{' '.join(k)} is in the table, but no longer there" for k in left]


# ---- what kernels move ----

MOVED = ["kernel", "arch", "case", "waves", "waves_limit", "sectors", "sectors_limit", "bytes", "bytes_limit"]


def write_moves(build):
    """Of the virtual GPU's counters: the test itself holds the limits and compares with the table."""
    program = build / "tests/test_cuda_moves"
    if not program.exists():
        raise Broken(f"no {program}: build it (it needs the virtual GPU)")
    with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / "moves"
        subprocess.run([str(program.resolve())], env={**os.environ, "OCT_MOVES": str(path)}, check=True,
                       capture_output=True)
        rows = sorted(path.read_text().splitlines())
    MOVES.write_text("\n".join(["# made by scripts/kernels.py accept", "\t".join(MOVED)] + rows) + "\n")


def read_moves(text):
    lines = text.splitlines()
    if len(lines) < 3 or lines[1].split("\t") != MOVED:
        raise Broken("cuda/moves.tsv is not a table of this tool; write it with scripts/kernels.py accept")
    return [dict(zip(MOVED, line.split("\t"))) for line in lines[2:]]


def moves_block(rows):
    def cell(row, what):
        value, limit = row[what], row[what + "_limit"]
        if not float(value):
            return "-"
        return f"{value} ({limit})" if float(limit) else value
    out = ["| kernel | arch | shape | wavefronts (limit) | sectors (limit) | bytes (limit) |",
           "|---|---|---|--:|--:|--:|"]
    out += ["| " + " | ".join([f"`{r['kernel']}`", r["arch"], r["case"], cell(r, "waves"), cell(r, "sectors"),
                               cell(r, "bytes")]) + " |" for r in rows]
    return "\n".join(out)


# ---- docs ----

# Measured with the same compiler on the sources of others, by the method of this tool.
PEERS = [
    ("attn_prefill", "sm_80", "FlashAttention-3 for sm_80, head size 128 (commit 0251105): 255 registers, "
     "204 bytes of spills, eta 0.745 causal, 0.73 with a window"),
    ("attn_prefill", "sm_90a", "FlashAttention-3 with `wgmma` (commit 0251105): no spills causal, 36 bytes "
     "with a window and variable lengths"),
    ("attn_decode", "sm_80", "FlashInfer on CUDA cores (commit fb28d72): 56 to 70 registers, no spills, 7 blocks an SM"),
    ("attn_decode", "sm_90a", "FlashInfer on CUDA cores (commit fb28d72): 56 to 72 registers, no spills, 9 blocks an SM"),
    ("gemm", "sm_80", "CUTLASS (vLLM's tiles, INT8) 128x128x64: 232 registers, no spills, eta 0.988; 16x64x128: 96 registers"),
]
# Measured by others at the shape of a case of `octavo bench kernels`.
PUBLISHED = {
    ("prefill 8k", "A100"): "FlashAttention-2 up to 230 TFLOP/s (arXiv 2307.08691): 2390 us",
    ("prefill 8k", "H100"): "FlashAttention-3 565 to 621 TFLOP/s (torchbench PR 2391, not causal): 885 us at best",
    ("sample 64 x 131072", "H100"): "FlashInfer 199 us, Triton 311 us (vLLM PR 40376)",
    ("gemm 4096 x 4096 x 4096", "H100"): "cuBLAS 798 TFLOP/s at 8192 cubed (fast.cu, random data): 172 us",
}


def gates_block(rows, compiler):
    out = [f"Made by `scripts/check_kernels.sh --accept` (nvcc {compiler}); the table is `cuda/gates.tsv`.", "",
           "| kernel | arch | threads | shared memory | registers (live) | spills | blocks an SM (warps) | code "
           "| loop: instructions | MMA m16n8k16 | 16-byte loads | stalls | eta |",
           "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for r in rows:
        warps = int(r["blocks_per_sm"]) * -(-int(r["threads"]) // 32)
        loop = [r["loop"], r["loop_mma"], r["loop_loads"], r["stall"], r["eta"]]
        out.append("| " + " | ".join([f"`{r['kernel']}`", r["arch"], r["threads"], r["smem"],
                                      f"{r['regs']} ({r['live']})",
                                      r["spills"], f"{r['blocks_per_sm']} ({warps})", r["code_bytes"]] + loop) + " |")
    out += ["", "Others, compiled with the same nvcc and read the same way:", ""]
    out += ["| kernels | arch | peer |", "|---|---|---|"]
    out += [f"| `{name}*` | {arch} | {text} |" for name, arch, text in PEERS
            if any(r["kernel"].startswith(name) for r in rows)]
    return "\n".join(out)


def bench_block(text):
    """Of the JSON of octavo bench kernels."""
    out = ["| case | GPU | MB at least | floor us | predicted us | of it the floor | limit | launches | others, measured |",
           "|---|---|--:|--:|--:|--:|---|--:|---|"]
    for r in json.loads(text)["results"]:
        other = PUBLISHED.get((r["case"], r["gpu"]), "")
        if r["launches"]:
            mine = [f"{r['predicted_us']:.1f}", f"{100 * r['floor_us'] / r['predicted_us']:.0f} %", r["limit"],
                    str(r["launches"])]
        else:
            mine = ["no kernel", "", "", ""]
        out.append("| " + " | ".join([r["case"], r["gpu"], f"{r['least_mb']:.2f}", f"{r['floor_us']:.1f}"] + mine +
                                     [other]) + " |")
    return "\n".join(out)


def with_block(text, name, block):
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    a, b = text.find(begin), text.find(end)
    if a < 0 or b < a:
        raise Broken(f"{DOC.name} has no {begin} ... {end}")
    return text[:a] + begin + "\n" + block + "\n" + text[b:]


def write_doc(build):
    text = with_block(DOC.read_text(), "gates", gates_block(*read_table(TABLE.read_text())))
    text = with_block(text, "moves", moves_block(read_moves(MOVES.read_text())))
    bench = run(build / "octavo", "bench", "kernels", "--json", "--device", "cpu")
    DOC.write_text(with_block(text, "bench", bench_block(bench)))


# ---- the tool itself ----

# Of nvdisasm 13, shortened: a loop of two matrix instructions, with a way around the load and one
# for warps that have diverged.
SASS = """
//--------------------- .text.gemm_b16_test --------------------------
	.section	.text.gemm_b16_test,"ax",@progbits
.text.gemm_b16_test:
        /*0000*/                   S2R R26, SR_TID.X ;                     /* 0x00000000001a7919 */
                                                                           /* 0x000e240000002100 */  // |  12   |   4    |   2    |
.L_x_1:
        /*0010*/              @!P1 BRA `(.L_x_2) ;                         /* 0x0000000000000947 */
                                                                           /* 0x000fea0003800000 */
        /*0020*/                   LDGSTS.E.BYPASS.128 [R3], [R2.64] ;     /* 0x0000000000000fae */
                                                                           /* 0x000fe4000b901c44 */
.L_x_2:                                                                                               // |       |        |        |
        /*0030*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;   /* 0x0000000c0804723c */
                                                                           /* 0x000ff00000041804 */  // |  40   |        |        |
        /*0040*/                   BRA.CONV ~URZ, `(.L_x_4) ;              /* 0x0000000000007947 */
                                                                           /* 0x000fea0003800000 */
        /*0050*/                   CALL.REL.NOINC `($__internal_5_warpsync) ; /* 0x0000000000007944 */
                                                                           /* 0x000fea0003800000 */
.L_x_4:
        /*0060*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;   /* 0x0000000c0804723c */
                                                                           /* 0x000ff00000041804 */
        /*0070*/               @P0 BRA `(.L_x_1) ;                         /* 0xffffffa000000947 */
                                                                           /* 0x000fea000383ffff */
        /*0080*/                   EXIT ;                                  /* 0x000000000000794d */
                                                                           /* 0x000fea0003800000 */
.L_x_3:
        /*0090*/                   BRA `(.L_x_3);                          /* 0xfffffff000007947 */
                                                                           /* 0x000fc0000383ffff */
        /*00a0*/                   NOP;                                    /* 0x0000000000007918 */
                                                                           /* 0x000fc00000000000 */
"""
PTXAS = """ptxas info    : Compiling entry function 'gemm_b16_test' for 'sm_80'
ptxas info    : Function properties for gemm_b16_test
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 41 registers, used 1 barriers, 64 bytes smem, 408 bytes cmem[0]
"""
# arch, threads, registers, shared memory, blocks: out of cuda_occupancy.h of CUDA 13.0.
OCCUPANCY = [
    ("sm_80", 1024, 41, 0, 1),
    ("sm_80", 128, 32, 102400, 1),
    ("sm_80", 192, 128, 1088, 2),
    ("sm_80", 192, 32, 0, 10),
    ("sm_80", 192, 41, 102400, 1),
    ("sm_80", 256, 128, 102400, 1),
    ("sm_80", 256, 232, 102400, 1),
    ("sm_80", 256, 32, 0, 8),
    ("sm_80", 256, 32, 81920, 2),
    ("sm_80", 256, 72, 49152, 3),
    ("sm_80", 288, 64, 163840, 1),
    ("sm_80", 32, 40, 1088, 32),
    ("sm_80", 32, 72, 9216, 16),
    ("sm_80", 384, 16, 9216, 5),
    ("sm_80", 384, 32, 81920, 2),
    ("sm_80", 512, 72, 102400, 1),
    ("sm_80", 512, 96, 0, 1),
    ("sm_80", 512, 96, 49152, 1),
    ("sm_80", 96, 64, 9216, 10),
    ("sm_90a", 1024, 41, 81920, 1),
    ("sm_90a", 1024, 64, 1088, 1),
    ("sm_90a", 128, 96, 163840, 1),
    ("sm_90a", 192, 16, 1088, 10),
    ("sm_90a", 192, 32, 163840, 1),
    ("sm_90a", 256, 255, 49152, 1),
    ("sm_90a", 256, 255, 81920, 1),
    ("sm_90a", 288, 40, 1088, 5),
    ("sm_90a", 288, 41, 9216, 4),
    ("sm_90a", 32, 128, 102400, 2),
    ("sm_90a", 32, 232, 9216, 8),
    ("sm_90a", 32, 40, 81920, 2),
    ("sm_90a", 32, 64, 200000, 1),
    ("sm_90a", 384, 41, 81920, 2),
    ("sm_90a", 384, 64, 9216, 2),
    ("sm_90a", 384, 96, 0, 1),
    ("sm_90a", 512, 128, 49152, 1),
    ("sm_90a", 512, 16, 0, 4),
    ("sm_90a", 96, 128, 163840, 1),
    ("sm_90a", 96, 232, 200000, 1),
]


def self_test():
    (name, (code, labels)), = parse_sass(SASS).items()
    assert name == "gemm_b16_test" and len(code) == 11 and labels[".L_x_2"] == 0x30, (name, len(code))
    assert [i.stall for i in code[:4]] == [2, 5, 2, 8], [i.stall for i in code]
    assert code[1].guard == "!P1" and code[1].op == "BRA"
    loop = hot_loop(trimmed(code), labels)
    assert (len(trimmed(code)), len(loop.insts), loop.n_mma, loop.n_loads, loop.stall) == (9, 6, 2, 1, 33), loop
    said = parse_ptxas(PTXAS)["gemm_b16_test", "sm_80"]
    assert said == {"smem": 64, "stack": 0, "spills": 0, "regs": 41}, said
    rows, bad = measure(name, "sm_80", code, labels, said, [(128, 1024)])
    assert bad == ["gemm_b16_test sm_80: no LDSM\\.16\\.M88\\.4"], bad
    assert rows[0]["eta"] == "0.485" and rows[0]["smem"] == 1088 and rows[0]["live"] == 40, rows
    slower = [dict(rows[0], stall=34)]
    old = [{c: str(v) for c, v in rows[0].items()}]
    assert not compare(rows, old) and len(compare(slower, old)) == 1, compare(slower, old)
    assert len(compare([], old)) == 1 and len(compare(rows, [])) == 1
    local = [i._replace(op="LDL") if i.op.startswith("S2R") else i for i in code]
    assert any("LDL" in b for b in measure(name, "sm_80", local, labels, said, [(128, 0)])[1])
    small = [i._replace(op="HMMA.1688.F32.BF16") if i.op.startswith("HMMA") else i for i in code]
    assert any("1688" in b for b in measure(name, "sm_80", small, labels, said, [(128, 0)])[1])
    full = [i._replace(live=251) for i in code]
    assert any("251 live" in b for b in measure("attn_prefill_x", "sm_80", full, labels, dict(said, regs=254), [])[1])
    spilled = dict(said, spills=4)
    assert any("spills" in b for b in measure(name, "sm_80", code, labels, spilled, [(128, 0)])[1])
    assert any("no plan" in b for b in measure(name, "sm_80", code, labels, said, [])[1])
    for arch, threads, regs, smem, blocks in OCCUPANCY:
        got = occupancy(arch, threads, regs, smem)
        assert got == blocks, f"{arch} {threads} threads, {regs} registers, {smem} bytes: {got}, not {blocks}"
    case = {"case": "gemm", "gpu": "A100", "least_mb": 1, "floor_us": 2, "launches": 1, "predicted_us": 4,
            "limit": "memory"}
    text = bench_block(json.dumps({"results": [case, {**case, "launches": 0}]}))
    assert "| gemm | A100 | 1.00 | 2.0 | 4.0 | 50 % | memory | 1 |" in text and "no kernel" in text, text
    assert with_block("a <!-- x: begin -->old<!-- x: end --> b", "x", "new") == \
        "a <!-- x: begin -->\nnew\n<!-- x: end --> b"
    moved = dict(zip(MOVED, "attn_x\tsm_80\t2 rows\t0.000\t1.10\t1.010\t1.02\t1.200\t0.00".split("\t")))
    assert moves_block(read_moves("#\n" + "\t".join(MOVED) + "\n" + "\t".join(moved.values()))).endswith(
        "| `attn_x` | sm_80 | 2 rows | - | 1.010 (1.02) | 1.200 |")
    assert compiler_of(b"..Cuda compilation tools, release 13.0, V13.0.88..") == "V13.0.88"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("what", choices=["check", "accept", "doc", "self-test"])
    p.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release-tests")
    p.add_argument("--tools", type=pathlib.Path, default=ROOT / "build/cuda-toolkit/bin")
    a = p.parse_args()
    try:
        if a.what == "self-test":
            self_test()
        elif a.what == "doc":
            write_doc(a.build)
        else:
            rows, bad, compiler = collect(a.build, a.tools)
            if a.what == "accept":
                write_table(rows, compiler)
                write_moves(a.build)
                write_doc(a.build)
            else:
                old, by = read_table(TABLE.read_text())
                if by == compiler:
                    worse = compare(rows, old)
                    bad += worse
                    if worse:
                        bad.append("if that is meant: scripts/check_kernels.sh --accept, and commit cuda/gates.tsv")
                else:
                    print(f"built with nvcc {compiler}, the table is of {by}: not compared with it")
                doc = with_block(DOC.read_text(), "gates", gates_block(old, by))
                if with_block(doc, "moves", moves_block(read_moves(MOVES.read_text()))) != DOC.read_text():
                    bad.append("docs/kernels.md is not of cuda/gates.tsv and cuda/moves.tsv: scripts/kernels.py doc")
            for line in bad:
                print(line)
            print(f"{len(rows)} rows, {len({r['kernel'] for r in rows})} kernels, {len(bad)} findings")
            return 1 if bad else 0
    except (Broken, OSError) as e:
        print(f"kernels.py: {e}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
