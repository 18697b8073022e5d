// SPDX-License-Identifier: Apache-2.0
// Which of the compiled tables this machine uses, and the look-up by key.
#include "ops.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "tcore.h"

#define TABLES(X) X(int) X(pred) X(f32) X(half) X(cvt)
#define DECLARE(t) extern const struct vg_alu vg_alu_##t##_base[];
TABLES(DECLARE)
#if defined(__x86_64__)
#define DECLARE3(t) extern const struct vg_alu vg_alu_##t##_v3[], vg_alu_##t##_v4[];
TABLES(DECLARE3)
#endif

extern const struct vg_rows vg_rows_base;
extern const struct vg_tensor vg_tensor_base;
#if defined(__x86_64__)
extern const struct vg_rows vg_rows_v3, vg_rows_v4;
extern const struct vg_tensor vg_tensor_v3, vg_tensor_v4;
#endif
static const struct vg_rows *rows;
static unsigned level; // 0 base, 1 v3, 2 v4

enum { SLOTS = 2048, MAX_ROWS = 1500 };
static const struct vg_alu *slot[SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned hash(const char *s)
{
    unsigned h = 5381;
    for (; *s; s++) {
        h = h * 33 ^ (unsigned char)*s;
    }
    return h % SLOTS;
}

static void add_table(const struct vg_alu *t)
{
    for (; t->key; t++) {
        unsigned i = hash(t->key);
        while (slot[i]) {
            i = (i + 1) % SLOTS;
        }
        slot[i] = t;
    }
}

// The best level of this CPU.
static unsigned cpu_level(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
              __builtin_cpu_supports("bmi2");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    return v4 ? 2 : v3 ? 1 : 0;
#else
    return 0;
#endif
}

static void fill(void)
{
    // VGPU_SIMD=base|v3 compares the levels in tests.
    const char *want = getenv("VGPU_SIMD");
    unsigned most = want && strcmp(want, "base") == 0 ? 0 : want && strcmp(want, "v3") == 0 ? 1 : 2;
    level = cpu_level();
    level = level < most ? level : most;
#define ADD(t, level) add_table(vg_alu_##t##_##level);
#if defined(__x86_64__)
    if (level == 2) {
#define ADD4(t) ADD(t, v4)
        TABLES(ADD4)
        rows = &vg_rows_v4;
        return;
    }
    if (level == 1) {
#define ADD3(t) ADD(t, v3)
        TABLES(ADD3)
        rows = &vg_rows_v3;
        return;
    }
#endif
#define ADD0(t) ADD(t, base)
    TABLES(ADD0)
    rows = &vg_rows_base;
}

const struct vg_rows *vg_rows(void)
{
    pthread_once(&once, fill);
    return rows;
}

const struct vg_tensor *vg_tensor_of(unsigned which)
{
#if defined(__x86_64__)
    static const struct vg_tensor *const table[] = {&vg_tensor_base, &vg_tensor_v3, &vg_tensor_v4};
#else
    static const struct vg_tensor *const table[] = {&vg_tensor_base};
#endif
    return which <= cpu_level() ? table[which] : NULL;
}

const struct vg_tensor *vg_tensor(void)
{
    pthread_once(&once, fill);
    return vg_tensor_of(level);
}

const struct vg_alu *vg_alu_find(const char *key)
{
    pthread_once(&once, fill);
    for (unsigned i = hash(key); slot[i]; i = (i + 1) % SLOTS) {
        if (strcmp(slot[i]->key, key) == 0) {
            return slot[i];
        }
    }
    return NULL;
}
