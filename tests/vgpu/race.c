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
    uint32_t clock, floor;
    bool writes, strong;
    enum vg_access kind;
    bool reported;
};

// Lane -1: all lanes together.
static uint32_t who_word(const struct who *a, int lane)
{
    return (uint32_t)a->agent << 16 | (lane < 0 ? 63 : (uint32_t)lane) << 8 |
           (a->strong ? VG_W_ATOMIC : 0);
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
static inline void check_w(struct who *a, uint32_t clock, uint32_t who, uint32_t off, int lane)
{
    if (clock <= a->floor || (a->strong && (who & VG_W_ATOMIC))) {
        return;
    }
    unsigned agent = who >> 16;
    if (agent == a->agent) {
        int by = (int)(who >> 8 & 0xFF);
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
    if (clock <= a->floor || (a->strong && (rec & VG_R_STRONG))) {
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

static inline uint32_t r_fresh(const struct who *a, int lane)
{
    return a->clock << 8 | (lane < 0 ? VG_R_MULTI : (uint32_t)lane) | (a->strong ? VG_R_STRONG : 0);
}

// The record after a read by `fresh`: lanes of one clock are several lanes, a weak one among strong
// ones makes all weak. No branches: whole rows go through it.
static inline uint32_t r_update(uint32_t old, uint32_t fresh)
{
    uint32_t differ = (old ^ fresh) & ~(uint32_t)VG_R_STRONG;
    uint32_t merged = (fresh | (differ ? VG_R_MULTI : 0)) & (old | ~(uint32_t)VG_R_STRONG);
    return differ < 256 ? merged : fresh;
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

static inline struct vg_block *block_of(const struct vg_chk_cta *t, uint32_t word)
{
    return &t->block[word / VG_RBLOCK_WORDS];
}

static inline void note_write(const struct who *a, uint32_t word)
{
    struct vg_block *b = block_of(a->t, word);
    b->wtop = b->wtop > a->clock ? b->wtop : a->clock;
}

static inline void note_read(const struct who *a, uint32_t word)
{
    struct vg_block *b = block_of(a->t, word);
    b->rtop = b->rtop > a->clock ? b->rtop : a->clock;
    b->rmask |= read_bit(a->t, a->agent);
}

// Calls check_r for every agent that has read the word (or this byte of it).
static void check_readers(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = block_of(t, word)->rmask;
    unsigned n = t->grid->n_agents;
    for (unsigned v = 0; v < n && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        uint32_t rec = t->rrec[v][word];
        if (rec == VG_SPLIT) {
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
    if (t->wclk[word] == VG_SPLIT) {
        for (unsigned b = byte0; b < byte0 + bytes; b++) {
            uint64_t rec = t->wbyte[word * 4 + b];
            check_w(a, (uint32_t)(rec >> 32), (uint32_t)rec, word * 4 + b, lane);
        }
    } else {
        check_w(a, t->wclk[word], t->wwho[word], word * 4, lane);
    }
    if (a->writes) {
        check_readers(a, word, byte0, bytes, lane);
    }
}

static void record_write(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    note_write(a, word);
    if (bytes == 4) {
        t->wclk[word] = a->clock;
        t->wwho[word] = who_word(a, lane);
        return;
    }
    uint64_t *b = w_bytes(t) + word * 4;
    if (t->wclk[word] != VG_SPLIT) {
        for (int i = 0; i < 4; i++) {
            b[i] = (uint64_t)t->wclk[word] << 32 | t->wwho[word];
        }
        t->wclk[word] = VG_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = (uint64_t)a->clock << 32 | who_word(a, lane);
    }
}

static void record_read(struct who *a, uint32_t word, unsigned byte0, unsigned bytes, int lane)
{
    struct vg_chk_cta *t = a->t;
    uint32_t *r = &r_array(t, a->agent)[word], fresh = r_fresh(a, lane);
    note_read(a, word);
    if (bytes == 4 && *r != VG_SPLIT) {
        *r = r_update(*r, fresh);
        return;
    }
    uint32_t *b = r_bytes(t, a->agent) + word * 4;
    if (*r != VG_SPLIT) {
        for (int i = 0; i < 4; i++) {
            b[i] = *r;
        }
        *r = VG_SPLIT;
    }
    for (unsigned i = byte0; i < byte0 + bytes; i++) {
        b[i] = r_update(b[i], fresh);
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
                        .floor = vg_clock_floor(w),
                        .writes = kind == VG_STORE || kind == VG_STORE_STRONG || kind == VG_ATOMIC,
                        .strong =
                            kind == VG_ATOMIC || kind == VG_LOAD_STRONG || kind == VG_STORE_STRONG,
                        .kind = kind};
}

// ---- words in a row: word0.., `per` words for each lane from lane0 on (per 0: all by lane0) ----

// Everything that the access must be ordered with lies below the floor.
static inline bool below_floor(const struct who *a, uint32_t word0, unsigned n)
{
    const struct vg_block *b = block_of(a->t, word0), *last = block_of(a->t, word0 + n - 1);
    for (; b <= last; b++) {
        if (b->wtop > a->floor || (a->writes && b->rtop > a->floor)) {
            return false;
        }
    }
    return true;
}

// True when no write record of the row can be in conflict, whatever the lane. One comparison per
// word where the records agree in agent and clock.
static bool row_written_fine(const struct who *a, uint32_t word0, unsigned n)
{
    const uint32_t *clk = a->t->wclk + word0, *who = a->t->wwho + word0;
    uint32_t known_clock = 0;
    unsigned known_agent = 0;
    for (unsigned i = 0; i < n; i++) {
        if (clk[i] <= a->floor) {
            continue;
        }
        unsigned agent = who[i] >> 16;
        if (clk[i] == known_clock && agent == known_agent) {
            continue;
        }
        bool late = agent == a->agent ? clk[i] >= a->w->chk->full_sync : clk[i] > a->vc[agent];
        if (late || clk[i] == VG_SPLIT) {
            return false;
        }
        known_clock = clk[i];
        known_agent = agent;
    }
    return true;
}

// The same for read records.
static bool row_read_fine(const struct who *a, uint32_t word0, unsigned n)
{
    struct vg_chk_cta *t = a->t;
    uint64_t mask = 0;
    uint32_t latest = 0;
    for (unsigned b = word0 / VG_RBLOCK_WORDS; b <= (word0 + n - 1) / VG_RBLOCK_WORDS; b++) {
        mask |= t->block[b].rmask;
        latest = latest > t->block[b].rtop ? latest : t->block[b].rtop;
    }
    if (latest <= a->floor) {
        return true;
    }
    unsigned n_agents = t->grid->n_agents;
    for (unsigned v = 0; v < n_agents && mask; v++) {
        if (!(mask & read_bit(t, v)) || !t->rrec[v]) {
            continue;
        }
        const uint32_t *rec = t->rrec[v] + word0;
        uint32_t top = 0;
        for (unsigned i = 0; i < n; i++) {
            top = rec[i] > top ? rec[i] : top;
        }
        uint32_t clock = top >> 8;
        if (top == VG_SPLIT || (v == a->agent ? clock >= a->w->chk->full_sync : clock > a->vc[v])) {
            return false;
        }
    }
    return true;
}

static void check_row(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    if (below_floor(a, word0, n) ||
        (row_written_fine(a, word0, n) && (!a->writes || row_read_fine(a, word0, n)))) {
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        check_word(a, word0 + i, 0, 4, per ? lane0 + (int)(i / per) : lane0);
    }
}

static void record_row_write(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    uint32_t *clk = a->t->wclk + word0, *who = a->t->wwho + word0;
    for (unsigned b = word0 & ~(VG_RBLOCK_WORDS - 1u); b < word0 + n; b += VG_RBLOCK_WORDS) {
        note_write(a, b);
    }
    for (unsigned i = 0; i < n; i++) {
        clk[i] = a->clock;
    }
    if (!per) {
        uint32_t word = who_word(a, lane0);
        for (unsigned i = 0; i < n; i++) {
            who[i] = word;
        }
        return;
    }
    for (unsigned i = 0; i < n; i += per) {
        uint32_t word = who_word(a, lane0 + (int)(i / per));
        for (unsigned k = 0; k < per; k++) {
            who[i + k] = word;
        }
    }
}

// r[0..n) read by one lane.
static inline void read_words(struct who *a, uint32_t *r, uint32_t word0, unsigned n, int lane)
{
    uint32_t fresh = r_fresh(a, lane), split = 0;
    for (unsigned i = 0; i < n; i++) {
        split |= r[i] == VG_SPLIT;
    }
    if (split) {
        for (unsigned i = 0; i < n; i++) {
            record_read(a, word0 + i, 0, 4, lane);
        }
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        r[i] = r_update(r[i], fresh);
    }
}

static void record_row_read(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    uint32_t *r = r_array(a->t, a->agent) + word0;
    for (unsigned b = word0 & ~(VG_RBLOCK_WORDS - 1u); b < word0 + n; b += VG_RBLOCK_WORDS) {
        note_read(a, b);
    }
    if (!per) {
        read_words(a, r, word0, n, lane0);
        return;
    }
    for (unsigned i = 0; i < n; i += per) {
        read_words(a, r + i, word0 + i, per, lane0 + (int)(i / per));
    }
}

static void row(struct who *a, uint32_t word0, unsigned n, int lane0, unsigned per)
{
    check_row(a, word0, n, lane0, per);
    if (a->writes) {
        record_row_write(a, word0, n, lane0, per);
    } else {
        record_row_read(a, word0, n, lane0, per);
    }
}

// Both halves of x at most the same half of y; all below 2^31.
static inline bool halves_at_most(uint64_t x, uint64_t y)
{
    const uint64_t high = UINT64_C(0x8000000080000000);
    return (((y | high) - x) & high) == high;
}

static inline void fill4(uint32_t *p, uint32_t v)
{
    uint64_t x = v * UINT64_C(0x100000001);
    memcpy(p, &x, 8);
    memcpy(p + 2, &x, 8);
}

// Lanes with a piece of `per` words each, none of which crosses a block: they are aligned.
static inline void read_pieces(struct who *a, const uint32_t off[32], uint32_t mask, unsigned per)
{
    uint32_t *all = r_array(a->t, a->agent);
    const uint64_t bit = read_bit(a->t, a->agent);
    const uint64_t older = ((a->clock << 8) - 1) * UINT64_C(0x100000001);
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        uint32_t word = off[lane] / 4, *r = all + word;
        struct vg_block *b = block_of(a->t, word);
        if (b->wtop > a->floor) {
            check_row(a, word, per, lane, 0);
        }
        b->rtop = b->rtop > a->clock ? b->rtop : a->clock;
        b->rmask |= bit;
        if (per == 4) { // records of older clocks are replaced, whatever they tell
            uint64_t x, y;
            memcpy(&x, r, 8);
            memcpy(&y, r + 2, 8);
            if (halves_at_most(x, older) && halves_at_most(y, older)) {
                fill4(r, r_fresh(a, lane));
                continue;
            }
        }
        read_words(a, r, word, per, lane);
    }
}

static inline void write_pieces(struct who *a, const uint32_t off[32], uint32_t mask, unsigned per)
{
    struct vg_chk_cta *t = a->t;
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        const struct vg_block *b = block_of(t, off[lane] / 4);
        if (b->wtop > a->floor || b->rtop > a->floor) {
            check_row(a, off[lane] / 4, per, lane, 0);
        }
    }
    // All checks before all records: lanes of one instruction do not race.
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        uint32_t word = off[lane] / 4, who = who_word(a, lane);
        note_write(a, word);
        if (per == 4) {
            fill4(t->wclk + word, a->clock);
            fill4(t->wwho + word, who);
            continue;
        }
        for (unsigned i = 0; i < per; i++) {
            t->wclk[word + i] = a->clock;
            t->wwho[word + i] = who;
        }
    }
}

static inline void pieces(struct who *a, const uint32_t off[32], uint32_t mask, unsigned per)
{
    if (a->writes) {
        write_pieces(a, off, mask, per);
    } else {
        read_pieces(a, off, mask, per);
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
        uint32_t differ = ~mask;
        for (unsigned i = 0; i < 32; i++) {
            differ |= off[i] ^ (off[0] + i * bytes);
        }
        if (!differ) {
            row(&a, off[0] / 4, 32 * per, 0, per);
        } else if (per == 4) { // the compiler unrolls
            pieces(&a, off, mask, 4);
        } else if (per == 1) {
            pieces(&a, off, mask, 1);
        } else {
            pieces(&a, off, mask, per);
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
    for (uint32_t m = mask; m; m &= m - 1) {
        int lane = __builtin_ctz(m);
        const struct vg_block *b = block_of(a.t, off[lane] / 4);
        if (b->wtop > a.floor || b->rtop > a.floor) {
            check_row(&a, off[lane] / 4, bytes / 4, lane, 0);
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
    uint32_t first = off / 4;
    check_row(&a, first, (off + bytes + 3) / 4 - first, lane, 0);
}

void vg_race_async_write(struct vg_chk_cta *c, uint32_t off, uint32_t bytes, uint32_t clock,
                         bool async_proxy)
{
    if (!c->grid->race || bytes == 0) {
        return;
    }
    uint32_t who = (uint32_t)c->async_agent << 16 | 63 << 8 | (async_proxy ? VG_W_ASYNC : 0);
    for (uint32_t i = off / 4; i < (off + bytes + 3) / 4; i++) {
        c->wclk[i] = clock;
        c->wwho[i] = who;
    }
    for (uint32_t b = off / 4 / VG_RBLOCK_WORDS; b <= (off + bytes - 1) / 4 / VG_RBLOCK_WORDS;
         b++) {
        c->block[b].wtop = c->block[b].wtop > clock ? c->block[b].wtop : clock;
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
    uint32_t known_clock = 0, known_who = 0;
    for (uint32_t i = first; i < first + n; i++) {
        bool split = t->wclk[i] == VG_SPLIT;
        for (unsigned b = 0; b < (split ? 4u : 1u); b++) {
            uint32_t clock = t->wclk[i], who = t->wwho[i];
            if (split) {
                clock = (uint32_t)(t->wbyte[i * 4 + b] >> 32);
                who = (uint32_t)t->wbyte[i * 4 + b];
            }
            unsigned agent = who >> 16;
            if (clock <= t->base || (who & VG_W_ASYNC) ||
                (clock == known_clock && agent == known_who)) {
                continue;
            }
            if (clock > fenced[agent]) {
                char name[64];
                agent_name(t, agent, name, sizeof(name));
                VG_FIND(w, -1, VG_PROXY_FENCE,
                        "%s reads shared memory offset 0x%x, which %s wrote with no "
                        "fence.proxy.async since",
                        what, i * 4 + b, name);
                return;
            }
            known_clock = clock;
            known_who = agent;
        }
    }
}
