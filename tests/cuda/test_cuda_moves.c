/* SPDX-License-Identifier: Apache-2.0
 *
 * What every kernel family moves, counted by the virtual GPU: wavefronts of shared memory over
 * those without bank conflicts, 32-byte sectors of global memory over the fewest that its accesses
 * could touch, bytes that cross the memory bus over those that the plan says it must move. Each has
 * a limit here, and none may be worse by more than 2 % than in cuda/moves.tsv, which this test
 * writes anew to the file OCT_MOVES (scripts/check_kernels.sh --accept; docs/kernels.md shows it).
 */
#include "cuda/kernel_test.h"
#include "serve/kernel_cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 64, NAME = 48, WORTH = 4096 /* bytes */ };

/* ---- limits ---- */

/* First row whose name begins so; 0: no limit. Main loops are free of conflicts; what is over 1 is
 * the way in and out of a block. Streams touch no sector twice; gathers and page tables may, a
 * little. Splits of a sequence leave partial results, 3 % at most. What products have over the
 * least are sums in fp32, one wherever a tile goes on in another block: of M rows 512 M bytes of
 * 64 columns, written and read, against 64 KiB of weight for each of a block's 4 or 5 chunks. */
static const struct limit {
    const char *name;
    double waves, sectors, bytes;
} limits[] = {
    {"attn_prefill", 1.00, 1.02, 1.02},   {"attn_decode", 1.00, 1.02, 1.04},
    {"gemm_b16_16x64", 1.00, 1.02, 1.03}, {"gemm_b16_32x64", 1.00, 1.02, 1.05},
    {"gemm_b16_64x64", 1.00, 1.02, 1.09}, {"gemm_", 1.00, 1.02, 1.12},
    {"sample_pick", 1.10, 1.02, 0},       {"sample_", 1.00, 1.02, 1.03},
    {"rope_kv", 1.00, 1.02, 1.02},        {"embed", 1.00, 1.02, 1.02},
    {"kv_copy", 1.00, 1.02, 1.01},        {"", 1.10, 1.00, 1.01},
};

struct moved {
    char kernel[NAME], arch[8], what[NAME];
    double waves, sectors, bytes; /* ratios; 0: no shared memory, no bytes worth one */
};
static struct moved rows[MAX_ROWS];
static int n_rows;

/* ---- operands ---- */

static oct_status put(void *owner, const void *host, size_t bytes, k_ptr *out)
{
    (void)owner;
    uint16_t *noise = NULL;
    if (!host) { /* bf16 from 2^-9 to 2^-5, either sign; sensible fp32 too */
        uint32_t state = 12345;
        host = noise = malloc(bytes + 2);
        for (size_t i = 0; i < bytes / 2; i++) {
            state = state * 1664525u + 1013904223u;
            noise[i] = (uint16_t)(0x3b00u + (state >> 20 & 0x1ffu) + (state >> 16 & 0x8000u));
        }
    }
    *out = kt_put(host, bytes);
    free(noise);
    return OCT_OK;
}

static oct_status matrix(void *owner, int32_t n, int32_t k, bool gate_up, k_ptr *out)
{
    const size_t elements = (size_t)n * (size_t)k, bytes = k_gemm_packed_bytes(n, k);
    uint16_t *plain = malloc(elements * 2);
    void *packed = malloc(bytes);
    for (size_t i = 0; i < elements; i++) {
        plain[i] = (uint16_t)(0x3b00u + i * 2654435761u % 512);
    }
    k_gemm_pack(plain, n, k, gate_up, 0, k_gemm_n_panels(n), packed);
    const oct_status st = put(owner, packed, bytes, out);
    free(plain);
    free(packed);
    return st;
}

/* ---- counting ---- */

enum { WAVES, IDEAL_WAVES, READ, READ_MIN, WRITE, WRITE_MIN, READ_ONCE, WRITE_ONCE, N_COUNTERS };

static void counters(const char *kernel, uint64_t c[N_COUNTERS])
{
    static const char *const names[N_COUNTERS] = {
        "shared_wavefronts",          "shared_wavefronts_ideal",
        "global_read_sectors",        "global_read_sectors_minimal",
        "global_write_sectors",       "global_write_sectors_minimal",
        "global_read_sectors_unique", "global_write_sectors_unique",
    };
    for (int i = 0; i < N_COUNTERS; i++) {
        c[i] = kt_counter(kernel, names[i]);
    }
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static void count(const char *arch, const char *what, const struct k_launch *l, int n)
{
    for (int i = 0; i < n; i++) {
        const char *kernel = k_kernel_table[l[i].kernel].name;
        uint64_t before[N_COUNTERS], c[N_COUNTERS];
        counters(kernel, before);
        kt_launch(&l[i], 1);
        counters(kernel, c);
        for (int j = 0; j < N_COUNTERS; j++) {
            c[j] -= before[j];
        }
        cr_assert(n_rows < MAX_ROWS && c[READ] > 0 && c[WRITE] > 0, "%s", kernel);
        struct moved *r = &rows[n_rows++];
        (void)snprintf(r->kernel, sizeof r->kernel, "%s", kernel);
        (void)snprintf(r->arch, sizeof r->arch, "%s", !strcmp(arch, "a100") ? "sm_80" : "sm_90a");
        (void)snprintf(r->what, sizeof r->what, "%s", what);
        r->waves = ratio(c[WAVES], c[IDEAL_WAVES]);
        r->sectors = ratio(c[READ] + c[WRITE], c[READ_MIN] + c[WRITE_MIN]);
        const uint64_t least = l[i].cost.read_bytes + l[i].cost.write_bytes;
        r->bytes = least < WORTH ? 0 : ratio(32 * (c[READ_ONCE] + c[WRITE_ONCE]), least);
    }
}

/* The op of the case, by its plan for the device or so much of it, or with another kernel of the
 * family (>= 0). */
static void count_case(const char *arch, const struct oct_kernel_case *c, enum k_op op,
                       int32_t kernel, int32_t n_sms)
{
    const struct oct_case_memory memory = {NULL, put, matrix};
    const struct k_work work = kt_work();
    struct k_facts f = *kt_facts();
    struct oct_case_ops ops;
    struct k_launch l[K_MAX_LAUNCHES];
    int n = 0;
    f.n_sms = n_sms;
    cr_assert_eq(oct_kernel_case_make(c, &memory, &ops), OCT_OK, "%s", oct_last_error());
    for (int i = 0; i < ops.n && n == 0; i++) {
        if (ops.op[i].op == op) {
            n = k_plan((int32_t)op, &f, &work, &ops.op[i].args, l);
        }
    }
    cr_assert_gt(n, 0, "%s", c->name);
    if (kernel >= 0) {
        cr_assert(k_gemm_replan(&f, &work, kernel, l), "%s", c->name);
    }
    count(arch, c->name, l, n);
}

/* Few rows on the whole device; many on a twelfth of it, with as many tiles an SM as on all of it
 * products of prefill have: more than one, and some left over that are cut. */
static void count_gemms(const char *arch)
{
    static const int32_t rows_of[] = {16, 32, 64, 128, 128, 192}; /* a tile each */
    for (int32_t i = 0; i < (int32_t)(sizeof rows_of / sizeof *rows_of); i++) {
        char name[NAME];
        const int32_t m = rows_of[i], n = m > 64 ? 1792 : 4096, k = m > 64 ? 2048 : 4096;
        const int32_t n_sms = kt_facts()->n_sms / (m > 64 ? 12 : 1);
        (void)snprintf(name, sizeof name, "%d x %d x %d%s", m, n, k, m > 64 ? ", SMs / 12" : "");
        const struct oct_kernel_case c = {name, OCT_CASE_GEMM, .rows = m, .n = n, .k = k};
        count_case(arch, &c, K_OP_gemm, K_KERNEL_gemm_b16_16x64 + i, n_sms);
    }
}

static void count_embed(const char *arch)
{
    enum { ROWS = 16, DIM = 1024, VOCAB = 64 };
    int32_t ids[ROWS];
    struct k_embed_args a = {
        .out = kt_room(2 * ROWS * DIM), .rows = ROWS, .dim = DIM, .dtype = K_BF16, .vocab = VOCAB};
    struct k_launch l[K_MAX_LAUNCHES];
    const struct k_work work = kt_work();
    for (int i = 0; i < ROWS; i++) {
        ids[i] = i * 7 % VOCAB;
    }
    a.ids = kt_put(ids, sizeof ids);
    cr_assert_eq(put(NULL, NULL, 2 * VOCAB * DIM, &a.table), OCT_OK);
    count(arch, "16 rows of 1024", l, k_plan(K_OP_embed, kt_facts(), &work, &a, l));
}

static void count_kv_copy(const char *arch)
{
    enum { N = 4, PAGE = 65536 };
    struct k_kv_copy_pair pairs[N];
    struct k_kv_copy_args a = {.page_bytes = PAGE, .n_pairs = N};
    struct k_launch l[K_MAX_LAUNCHES];
    const struct k_work work = kt_work();
    for (int i = 0; i < N; i++) {
        pairs[i] = (struct k_kv_copy_pair){2 * i, 2 * i + 1};
    }
    a.pairs = kt_put(pairs, sizeof pairs);
    cr_assert_eq(put(NULL, NULL, 2 * N * PAGE, &a.pool), OCT_OK);
    count(arch, "4 pages of 64 KiB", l, k_plan(K_OP_kv_copy, kt_facts(), &work, &a, l));
}

/* All that sampling can be asked for: a row with every edit, every border and logprobs, one that is
 * drawn from whole. Logits as of a model: a bell, a few above. */
static void count_sample(const char *arch)
{
    enum { VOCAB = 32768, COUNTS = 600, BIAS = 64, ROWS = 2 };
    static float logits[ROWS * VOCAB];
    static uint32_t mask[VOCAB / 32];
    struct k_sample_count counts[COUNTS];
    struct k_sample_bias bias[BIAS];
    const int32_t banned[] = {2, VOCAB - 1};
    uint32_t state = 1;
    for (int32_t i = 0; i < ROWS * VOCAB; i++) {
        for (int j = 0; j < 12; j++) { /* variance 1 */
            state = state * 1664525u + 1013904223u;
            logits[i] += ((float)(state >> 8) * 0x1p-24f - 0.5f) * (i % 1000 ? 2.0f : 5.0f);
        }
    }
    for (int32_t i = 0; i < VOCAB / 32; i++) {
        mask[i] = ~(1u << i % 32);
    }
    for (int32_t i = 0; i < COUNTS; i++) { /* in the order of a hash table */
        counts[i] = (struct k_sample_count){i * 7919 % VOCAB, i % 3};
    }
    for (int32_t i = 0; i < BIAS; i++) {
        bias[i] = (struct k_sample_bias){i * 104729 % VOCAB, 0.5f};
    }
    struct k_sample_row asked[ROWS] = {
        {.n_counts = COUNTS,
         .n_bias = BIAS,
         .n_banned = 2,
         .n_top = 5,
         .temperature = 0.8f,
         .top_p = 0.9f,
         .min_p = 0.01f,
         .repetition = 1.1f,
         .frequency = 0.1f,
         .presence = 0.1f,
         .top_k = 500},
        {.n_top = 20, .temperature = 1, .top_p = 1, .repetition = 1}};
    asked[0].counts = kt_put(counts, sizeof counts);
    asked[0].bias = kt_put(bias, sizeof bias);
    asked[0].banned = kt_put(banned, sizeof banned);
    asked[0].bitmask = kt_put(mask, sizeof mask);
    const struct k_sample_args a = {.out = kt_room(ROWS * sizeof(struct k_sample_out)),
                                    .top = kt_room(ROWS * 20 * sizeof(struct k_sample_top)),
                                    .logits = kt_put(logits, sizeof logits),
                                    .rows = kt_put(asked, sizeof asked),
                                    .logits_stride = VOCAB,
                                    .n_rows = ROWS,
                                    .vocab = VOCAB,
                                    .max_top = 20};
    struct k_launch l[K_MAX_LAUNCHES];
    const struct k_work work = kt_work();
    const int n = k_plan(K_OP_sample, kt_facts(), &work, &a, l);
    for (int i = 0; i < n - 1; i++) { /* the plan does not know of the lists */
        l[i].cost.read_bytes += sizeof counts + sizeof bias + sizeof mask;
    }
    count(arch, "2 x 32768, all asked", l, n);
}

static void count_all(const char *arch)
{
    static const struct {
        struct oct_kernel_case c;
        enum k_op op;
    } cases[] = {
        {{"64 rows, 512 keys", OCT_CASE_ATTN, .rows = 64, .n_seqs = 1, .keys = 512}, K_OP_attn},
        {{"2 rows, 1536 keys", OCT_CASE_ATTN, .rows = 1, .n_seqs = 2, .keys = 1536}, K_OP_attn},
        {{"2 rows, 1536 keys", OCT_CASE_LAYER, .n_seqs = 2, .keys = 1536, .n = 64, .k = 64},
         K_OP_rope_attn},
        {{"16 x 1024", OCT_CASE_NORM, .rows = 16, .k = 1024}, K_OP_rmsnorm},
        {{"16 x 4096", OCT_CASE_NORM, .rows = 16, .k = 4096}, K_OP_rmsnorm},
        {{"16 x 8192", OCT_CASE_NORM, .rows = 16, .k = 8192}, K_OP_rmsnorm},
        {{"4 x 20480", OCT_CASE_NORM, .rows = 4, .k = 20480}, K_OP_rmsnorm},
        {{"8 x 4096", OCT_CASE_SILU, .rows = 8, .n = 4096}, K_OP_silu_mul},
        {{"16 rows", OCT_CASE_ROPE, .rows = 16, .n_seqs = 1, .keys = 64}, K_OP_rope_kv},
        {{"2 x 131072", OCT_CASE_SAMPLE, .rows = 2, .n = 131072}, K_OP_sample},
    };
    struct k_fatbin f;
    if (!k_fatbin_of(0, &f)) {
        cr_skip_test("this build has no kernels: no nvcc was found");
    }
    kt_open(arch, 1);
    if (!kt_is_virtual()) {
        cr_skip_test("only the virtual GPU counts");
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        count_case(arch, &cases[i].c, cases[i].op, -1, kt_facts()->n_sms);
    }
    count_gemms(arch);
    count_embed(arch);
    count_kv_copy(arch);
    count_sample(arch);
}

/* ---- judging ---- */

static const struct limit *limit_of(const struct moved *r)
{
    const struct limit *l = limits;
    while (strncmp(r->kernel, l->name, strlen(l->name)) != 0) {
        l++;
    }
    return l;
}

static void write_rows(const char *path)
{
    FILE *f = fopen(path, "a"); /* the other architecture's are there already */
    cr_assert_not_null(f, "%s", path);
    for (int i = 0; i < n_rows; i++) {
        const struct limit *l = limit_of(&rows[i]);
        (void)fprintf(f, "%s\t%s\t%s\t%.3f\t%.2f\t%.3f\t%.2f\t%.3f\t%.2f\n", rows[i].kernel,
                      rows[i].arch, rows[i].what, rows[i].waves, l->waves, rows[i].sectors,
                      l->sectors, rows[i].bytes, l->bytes);
    }
    cr_assert_eq(fclose(f), 0);
}

/* The committed row of the same kernel and shape. */
static bool committed(const struct moved *r, struct moved *was)
{
    FILE *f = fopen(OCT_SOURCE_DIR "/cuda/moves.tsv", "r");
    char line[256], key[160];
    bool found = false;
    cr_assert_not_null(f, "no cuda/moves.tsv");
    (void)snprintf(key, sizeof key, "%s\t%s\t%s\t", r->kernel, r->arch, r->what);
    while (!found && fgets(line, sizeof line, f)) {
        double l[3];
        found = !strncmp(line, key, strlen(key)) &&
                sscanf(line + strlen(key), "%lf %lf %lf %lf %lf %lf", &was->waves, &l[0],
                       &was->sectors, &l[1], &was->bytes, &l[2]) == 6;
    }
    (void)fclose(f);
    return found;
}

static void judge(const struct moved *r)
{
    const struct limit *l = limit_of(r);
    const struct {
        const char *what;
        double is, limit;
    } parts[] = {{"wavefronts over ideal", r->waves, l->waves},
                 {"sectors over the fewest", r->sectors, l->sectors},
                 {"bytes over the least", r->bytes, l->bytes}};
    struct moved was;
    const bool known = committed(r, &was);
    cr_expect(known, "%s, %s on %s is not in cuda/moves.tsv", r->kernel, r->what, r->arch);
    const double before[] = {was.waves, was.sectors, was.bytes};
    for (size_t i = 0; i < 3; i++) {
        cr_expect(parts[i].limit == 0 || parts[i].is <= parts[i].limit + 5e-4,
                  "%s, %s on %s: %.3f %s, at most %.2f", r->kernel, r->what, r->arch, parts[i].is,
                  parts[i].what, parts[i].limit);
        cr_expect(!known || parts[i].is <= before[i] * 1.02 + 5e-4,
                  "%s, %s on %s: %.3f %s, was %.3f (scripts/check_kernels.sh --accept if meant)",
                  r->kernel, r->what, r->arch, parts[i].is, parts[i].what, before[i]);
    }
}

static void check(const char *arch)
{
    const char *path = getenv("OCT_MOVES");
    count_all(arch);
    if (path) {
        write_rows(path);
        return;
    }
    for (int i = 0; i < n_rows; i++) {
        judge(&rows[i]);
    }
}

Test(moves, no_more_than_the_limits_a100, .timeout = 120)
{
    check("a100");
}

Test(moves, no_more_than_the_limits_h100, .timeout = 120)
{
    check("h100");
}
