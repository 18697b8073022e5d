// SPDX-License-Identifier: Apache-2.0
// race.c - races on shared memory: FastTrack with one clock per warp, the lane in each record (a
// missing __syncwarp), reads kept per agent. Words are the unit; a word that is accessed in parts
// is split into records per byte.
#include "chk.h"

#include <string.h>

// ---- records of shared memory ----

struct who { // the access at hand
    struct vg_warp *w;
    struct vg_chk_cta *t; // whose shared memory
    const uint32_t *vc;
    unsigned agent;
    uint32_t clock;
    bool writes, strong;
    enum vg_access kind;
    bool reported;
};

static uint64_t w_record(uint32_t clock, unsigned agent, unsigned lane, unsigned flags)
{
    return (uint64_t)clock << 32 | (uint64_t)agent << 16 | lane << 8 | flags;
}

static void agent_name(const struct vg_chk_cta *t, unsigned agent, char *buf, size_t n)
{
    unsigned per = t->grid->n_warps + 1, rank = agent / per, warp = agent % per;
    const char *cta = rank == t->cta->rank ? "" : " of another CTA of the cluster";
    if (warp == per - 1) {
        snprintf(buf, n, "an asynchronous copy");
    } else {
        snprintf(buf, n, "warp %u%s", warp, cta);
    }
}

static void report(struct who *a, uint32_t off, int lane, unsigned agent, int other_lane,
                   const char *did)
{
    if (a->reported) {
        return; // one finding per instruction
    }
    a->reported = true;
    const char *now = a->kind == VG_ATOMIC ? "atomic on" : a->writes ? "write to" : "read of";
    if (agent == a->agent) {
        if (other_lane >= 0) {
            VG_FIND(a->w, lane, VG_WARP_RACE,
                    "%s shared memory offset 0x%x, %s by lane %d of the same warp without "
                    "__syncwarp() between",
                    now, off, did, other_lane);
        } else {
            VG_FIND(a->w, lane, VG_WARP_RACE,
                    "%s shared memory offset 0x%x, %s by other lanes of the same warp without "
                    "__syncwarp() between",
                    now, off, did);
        }
        return;
    }
    char name[64];
    agent_name(a->t, agent, name, sizeof(name));
    VG_FIND(a->w, lane, VG_SHARED_RACE,
            "%s shared memory offset 0x%x, %s by %s with no barrier between", now, off, did, name);
}

// What lane `by` (-1: several) of the own warp did at this clock is known to `lane` (-1: to every
// lane).
static bool lane_knows(const struct vg_chk_warp *k, int lane, int by, uint32_t clock)
{
    if (clock < k->full_sync) {
        return true;
    }
    if (!k->has_pair) {
        return false;
    }
    for (int l = lane < 0 ? 0 : lane; l < (lane < 0 ? 32 : lane + 1); l++) {
        for (int b = by < 0 ? 0 : by; b < (by < 0 ? 32 : by + 1); b++) {
            if (b != l && clock >= k->pair[l][b]) {
                return false;
            }
        }
    }
    return true;
}

// Write record against the access by `lane` (-1: every lane).
static inline void check_w(struct who *a, uint64_t rec, uint32_t off, int lane)
{
    if (rec == 0 || (a->strong && (rec & VG_W_ATOMIC))) {
        return;
    }
    uint32_t clock = (uint32_t)(rec >> 32);
    unsigned agent = (unsigned)(rec >> 16 & 0xFFFF);
    if (agent == a->agent) {
        int by = (int)(rec >> 8 & 0xFF);
        by = by < 32 ? by : -1;
        if ((by != lane || by < 0) && !lane_knows(a->w->chk, lane, by, clock)) {
            report(a, off, lane, agent, by, "written");
        }
    } else if (clock > a->vc[agent]) {
        report(a, off, lane, agent, -1, "written");
    }
}

static inline void check_r(struct who *a, unsigned agent, uint32_t rec, uint32_t off, int lane)
{
    uint32_t clock = rec >> 8;
    if (clock == 0 || (a->strong && (rec & VG_R_STRONG))) {
        return;
    }
    if (agent == a->agent) {
        int by = (int)(rec & VG_R_LANE);
        by = rec & VG_R_MULTI ? -1 : by;
        if ((by != lane || by < 0) && !lane_knows(a->w->chk, lane, by, clock)) {
            report(a, off, lane, agent, by, "read");
        }
    } else if (clock > a->vc[agent]) {
        report(a, off, lane, agent, -1, "read");
    }
}

static inline uint32_t r_update(const struct who *a, uint32_t old, int lane)
{
    uint32_t fresh =
        a->clock << 8 | (lane < 0 ? VG_R_MULTI : (uint32_t)lane) | (a->strong ? VG_R_STRONG : 0);
    if (old >> 8 == a->clock) {
        if ((old & VG_R_MULTI) || (old & VG_R_LANE) != (fresh & VG_R_LANE)) {
            fresh |= VG_R_MULTI;
        }
        if (!(old & VG_R_STRONG)) {
            fresh &= ~(uint32_t)VG_R_STRONG;
        }
    }
    return fresh;
}

static bool is_far(const struct vg_chk_cta *t, unsigned agent)
{
    return agent - t->agent0 >= t->grid->n_warps;
}

static uint64_t read_bit(const struct vg_chk_cta *t, unsigned agent)
{
    return is_far(t, agent) ? VG_RMASK_FAR : UINT64_C(1) << (agent - t->agent0);
}

static uint32_t *r_array(struct vg_chk_cta *t, unsigned agent)
{
    if (!t->rrec[agent]) {
        t->rrec[agent] = vg_chk_alloc(t->n_words + 4u, sizeof(uint32_t));
    }
    return t->rrec[agent];
}

static uint32_t *r_bytes(struct vg_chk_cta *t, unsigned agent)
{
    if (!t->rbyte[agent]) {
        t->rbyte[agent] = vg_chk_alloc((size_t)t->n_words * 4, sizeof(uint32_t));
    }
    return t->rbyte[agent];
}

static uint64_t *w_bytes(struct vg_chk_cta *t)
{
    if (!t->wbyte) {
        t->wbyte = vg_chk_alloc((size_t)t->n_words * 4, sizeof(uint64_t));
    }
    return t->wbyte;
}

// Calls check_r for every agent that has read the word (or this byte of it).
static void check_readers(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = t->rmask[word / VG_RBLOCK_WORDS];
    unsigned n = t->grid->n_agents;
    for (unsigned v = 0; v < n && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        uint32_t rec = t->rrec[v][word];
        if (rec & VG_R_SPLIT) {
            for (unsigned b = byte0; b < byte0 + bytes; b++) {
                check_r(a, v, t->rbyte[v][word * 4 + b], word * 4 + b, lane);
            }
        } else {
            check_r(a, v, rec, word * 4, lane);
        }
    }
}

// One access within one word: bytes [byte0, byte0 + bytes).
static void check_word(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t rec = t->wrec[word];
    if (rec & VG_W_SPLIT) {
        for (unsigned b = byte0; b < byte0 + bytes; b++) {
            check_w(a, t->wbyte[word * 4 + b], word * 4 + b, lane);
        }
    } else {
        check_w(a, rec, word * 4, lane);
    }
    if (a->writes) {
        check_readers(a, word, byte0, bytes, lane);
    }
}

static void record_write(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t fresh =
        w_record(a->clock, a->agent, lane < 0 ? 63 : (unsigned)lane, a->strong ? VG_W_ATOMIC : 0);
    if (bytes == 4) {
        t->wrec[word] = fresh;
        return;
    }
    uint64_t *b = w_bytes(t) + word * 4;
    if (!(t->wrec[word] & VG_W_SPLIT)) {
        for (int i = 0; i < 4; i++) {
            b[i] = t->wrec[word];
        }
        t->wrec[word] = VG_W_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = fresh;
    }
}

static void record_read(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint32_t *r = &r_array(t, a->agent)[word];
    t->rmask[word / VG_RBLOCK_WORDS] |= read_bit(t, a->agent);
    if (bytes == 4 && !(*r & VG_R_SPLIT)) {
        *r = r_update(a, *r, lane);
        return;
    }
    uint32_t *b = r_bytes(t, a->agent) + word * 4;
    if (!(*r & VG_R_SPLIT)) {
        for (int i = 0; i < 4; i++) {
            b[i] = *r;
        }
        *r = VG_R_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = r_update(a, b[i], lane);
    }
}

static struct who who_is(struct vg_warp *w, struct vg_cta *target, enum vg_access kind)
{
    struct vg_chk_warp *k = w->chk;
    return (struct who){.w = w,
                        .t = target->chk,
                        .vc = k->vc,
                        .agent = k->agent,
                        .clock = k->vc[k->agent],
                        .writes = kind == VG_STORE || kind == VG_STORE_STRONG || kind == VG_ATOMIC,
                        .strong =
                            kind == VG_ATOMIC || kind == VG_LOAD_STRONG || kind == VG_STORE_STRONG,
                        .kind = kind};
}

// ---- words in a row: word0.., `per` words for each lane from lane0 on (per 0: all by lane0) ----

// True when no write record of the row can be in conflict, whatever the lane. One comparison per
// word where the records agree in agent and clock.
static bool row_written_fine(const struct who *a, uint32_t word0, unsigned n)
{
    const uint64_t *rec = a->t->wrec + word0;
    uint64_t known = 0, other = 0, flags = 0; // record 0 is fine
    for (unsigned i = 0; i < n; i++) {
        other |= rec[i] ^ rec[0];
        flags |= rec[i];
    }
    if (!(other >> 16) && !(flags & VG_W_SPLIT)) {
        n = 1; // one writer at one clock
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t key = rec[i] >> 16;
        if (key != known || (rec[i] & VG_W_SPLIT)) {
            if (rec[i] & VG_W_SPLIT) {
                return false;
            }
            uint32_t clock = (uint32_t)(key >> 16);
            unsigned agent = (unsigned)(key & 0xFFFF);
            if (agent == a->agent ? clock >= a->w->chk->full_sync : clock > a->vc[agent]) {
                return false;
            }
            known = key;
        }
    }
    return true;
}

// The same for read records.
static bool row_read_fine(const struct who *a, uint32_t word0, unsigned n)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = 0;
    for (unsigned b = word0 / VG_RBLOCK_WORDS; b <= (word0 + n - 1) / VG_RBLOCK_WORDS; b++) {
        mask |= t->rmask[b];
    }
    unsigned n_agents = t->grid->n_agents;
    for (unsigned v = 0; v < n_agents && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        const uint32_t *rec = t->rrec[v] + word0;
        uint32_t top = 0, any = 0;
        for (unsigned i = 0; i < n; i++) {
            top = rec[i] > top ? rec[i] : top;
            any |= rec[i];
        }
        if (any & VG_R_SPLIT) {
            return false;
        }
        uint32_t clock = top >> 8;
        if (v == a->agent ? clock >= a->w->chk->full_sync : clock > a->vc[v]) {
            return false;
        }
    }
    return true;
}

static void row(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    struct vg_chk_cta *t = a->t;
    bool fine = row_written_fine(a, word0, n) && (!a->writes || row_read_fine(a, word0, n));
    if (!fine) {
        for (unsigned i = 0; i < n; i++) {
            check_word(a, word0 + i, 0, 4, per ? lane0 + (int)(i / per) : lane0);
        }
    }
    if (a->writes) {
        uint64_t fresh = w_record(a->clock, a->agent, 0, a->strong ? VG_W_ATOMIC : 0);
        for (unsigned i = 0; i < n; i++) {
            unsigned lane = per ? (unsigned)lane0 + i / per : lane0 < 0 ? 63 : (unsigned)lane0;
            t->wrec[word0 + i] = fresh | (uint64_t)lane << 8;
        }
        return;
    }
    uint32_t *r = r_array(t, a->agent) + word0;
    for (unsigned b = word0 / VG_RBLOCK_WORDS; b <= (word0 + n - 1) / VG_RBLOCK_WORDS; b++) {
        t->rmask[b] |= read_bit(t, a->agent);
    }
    for (unsigned i = 0; i < n; i++) {
        int lane = per ? lane0 + (int)(i / per) : lane0;
        if (r[i] & VG_R_SPLIT) {
            record_read(a, word0 + i, 0, 4, lane);
        } else {
            r[i] = r_update(a, r[i], lane);
        }
    }
}

// The range that lanes of 4 bytes and more cover, with what lies between them, is free of
// conflicts. False says nothing.
static bool hull_fine(const struct who *a, const uint32_t off[32], uint32_t mask, unsigned bytes)
{
    uint32_t lo = UINT32_MAX, hi = 0;
    for (unsigned l = 0; l < 32; l++) {
        if (mask >> l & 1) {
            lo = off[l] < lo ? off[l] : lo;
            hi = off[l] > hi ? off[l] : hi;
        }
    }
    uint32_t n = (hi + bytes - lo) / 4;
    return n <= 512 && row_written_fine(a, lo / 4, n) &&
           (!a->writes || row_read_fine(a, lo / 4, n));
}

// Read records of the `per` words of one lane.
static inline void record_lane(struct who *a, uint32_t *r, uint32_t word, unsigned per, int lane)
{
    uint32_t busy = 0;
    for (unsigned i = 0; i < per; i++) {
        busy |= r[word + i] >> 8 == a->clock || (r[word + i] & VG_R_SPLIT) ? 1u : 0u;
    }
    for (unsigned i = 0; i < per; i++) {
        if (!busy) {
            r[word + i] = a->clock << 8 | (uint32_t)lane | (a->strong ? VG_R_STRONG : 0);
        } else if (r[word + i] & VG_R_SPLIT) {
            record_read(a, word + i, 0, 4, lane);
        } else {
            r[word + i] = r_update(a, r[word + i], lane);
        }
    }
}

void vg_race_shared(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32], uint32_t mask,
                    unsigned bytes, enum vg_access kind)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct who a = who_is(w, target, kind);
    if (bytes >= 4) {
        unsigned per = bytes / 4;
        bool is_row = mask == 0xFFFFFFFFu;
        for (unsigned i = 1; i < 32 && is_row; i++) {
            is_row = off[i] == off[0] + i * bytes;
        }
        if (is_row) {
            row(&a, off[0] / 4, 32 * per, 0, per);
            return;
        }
        const bool fine = hull_fine(&a, off, mask, bytes);
        if (!a.writes) {
            uint32_t *r = r_array(a.t, a.agent);
            for (uint32_t m = mask; m; m &= m - 1) {
                int lane = __builtin_ctz(m);
                uint32_t word = off[lane] / 4;
                for (unsigned i = 0; !fine && i < per; i++) {
                    check_word(&a, word + i, 0, 4, lane);
                }
                // Aligned to its size, so one lane's words are of one block.
                a.t->rmask[word / VG_RBLOCK_WORDS] |= read_bit(a.t, a.agent);
                record_lane(&a, r, word, per, lane);
            }
            return;
        }
        // All checks before all records: lanes of one instruction do not race with each other.
        for (uint32_t m = fine ? 0 : mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            uint32_t word = off[lane] / 4;
            if (!row_written_fine(&a, word, per) || !row_read_fine(&a, word, per)) {
                for (unsigned i = 0; i < per; i++) {
                    check_word(&a, word + i, 0, 4, lane);
                }
            }
        }
        for (uint32_t m = mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            for (unsigned i = 0; i < per; i++) {
                record_write(&a, off[lane] / 4 + i, 0, 4, lane);
            }
        }
        return;
    }
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        check_word(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
    }
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        if (a.writes) {
            record_write(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
        } else {
            record_read(&a, off[lane] / 4, off[lane] % 4, bytes, lane);
        }
    }
}

void vg_race_range(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes, int lane,
                   enum vg_access kind)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, kind);
    if (((off | bytes) & 3) == 0) {
        row(&a, off / 4, bytes / 4, lane, 0);
        return;
    }
    for (uint32_t at = off; at < off + bytes;) {
        uint32_t n = 4 - at % 4;
        n = n < off + bytes - at ? n : off + bytes - at;
        check_word(&a, at / 4, at % 4, n, lane);
        if (a.writes) {
            record_write(&a, at / 4, at % 4, n, lane);
        } else {
            record_read(&a, at / 4, at % 4, n, lane);
        }
        at += n;
    }
}

void vg_race_check_write(struct vg_warp *w, struct vg_cta *target, const uint32_t off[32],
                         uint32_t mask, unsigned bytes)
{
    if (!w->cta->grid->chk->race) {
        return;
    }
    struct who a = who_is(w, target, VG_STORE);
    if (!hull_fine(&a, off, mask, bytes)) {
        for (uint32_t m = mask; m; m &= m - 1) {
            int lane = __builtin_ctz(m);
            vg_race_range_check_write(w, target, off[lane], bytes, lane);
        }
    }
}

void vg_race_range_check_write(struct vg_warp *w, struct vg_cta *target, uint32_t off,
                               uint32_t bytes, int lane)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, VG_STORE);
    uint32_t first = off / 4, n = (off + bytes + 3) / 4 - first;
    if (!row_written_fine(&a, first, n) || !row_read_fine(&a, first, n)) {
        for (unsigned i = 0; i < n; i++) {
            check_word(&a, first + i, 0, 4, lane);
        }
    }
}

void vg_race_async_write(struct vg_chk_cta *c, uint32_t off, uint32_t bytes, uint32_t clock,
                         bool async_proxy)
{
    if (!c->grid->race || bytes == 0) {
        return;
    }
    uint64_t rec = w_record(clock, c->async_agent, 63, async_proxy ? VG_W_ASYNC : 0);
    for (uint32_t i = off / 4; i < (off + bytes + 3) / 4; i++) {
        c->wrec[i] = rec;
    }
}

void vg_race_async_read(struct vg_warp *w, struct vg_cta *target, uint32_t off, uint32_t bytes,
                        const char *what)
{
    if (!w->cta->grid->chk->race || bytes == 0) {
        return;
    }
    struct who a = who_is(w, target, VG_LOAD);
    struct vg_chk_cta *t = target->chk;
    const uint32_t *fenced = vg_view(t->grid, w->chk->vc, VG_VIEW_SHARED);
    uint32_t first = off / 4, n = (off + bytes + 3) / 4 - first;
    row(&a, first, n, -1, 0);
    uint64_t known = 0;
    for (uint32_t i = first; i < first + n; i++) {
        for (unsigned b = 0; b < 4; b++) {
            uint64_t rec = t->wrec[i];
            if (rec & VG_W_SPLIT) {
                rec = t->wbyte[i * 4 + b];
            } else if (b > 0) {
                break;
            }
            if (rec == 0 || (rec & VG_W_ASYNC) || rec >> 16 == known) {
                continue;
            }
            uint32_t clock = (uint32_t)(rec >> 32);
            unsigned agent = (unsigned)(rec >> 16 & 0xFFFF);
            if (clock > t->base && clock > fenced[agent]) {
                char name[64];
                agent_name(t, agent, name, sizeof(name));
                VG_FIND(w, -1, VG_PROXY_FENCE,
                        "%s reads shared memory offset 0x%x, which %s wrote with no "
                        "fence.proxy.async since",
                        what, i * 4 + b, name);
                return;
            }
            known = rec >> 16;
        }
    }
}
