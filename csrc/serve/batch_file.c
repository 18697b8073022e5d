/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/batch_file.h"

#include "serve/terminal.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 16, SYNC_US = 1000000 };

/* ---- lines ---- */

static oct_status check_regular(int fd, const char *path)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0) {
        return OCT_FAIL(OCT_E_IO, "%s: %s", path, strerror(errno));
    }
    if (!S_ISREG(sb.st_mode)) { /* it is read twice, or read back */
        return OCT_FAIL(OCT_E_ARG, "%s is not a regular file", path);
    }
    return OCT_OK;
}

oct_status oct_lines_open(const char *path, struct oct_lines *out)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        return OCT_FAIL(errno == ENOENT ? OCT_E_NOTFOUND : OCT_E_IO, "%s: %s", path,
                        strerror(errno));
    }
    struct oct_lines l = {.fd = fd, .path = oct_strdup(path)};
    l.buf.max_bytes = OCT_BATCH_MAX_LINE_BYTES + READ_BYTES;
    const oct_status st =
        l.path ? check_regular(fd, path) : oct_no_memory("a path", strlen(path) + 1);
    if (st != OCT_OK) {
        oct_lines_close(&l);
        return st;
    }
    *out = l;
    return OCT_OK;
}

void oct_lines_close(struct oct_lines *l)
{
    if (l->path) {
        (void)close(l->fd);
    }
    oct_free(l->path);
    oct_buf_free(&l->buf);
    *l = (struct oct_lines){0};
}

oct_status oct_lines_rewind(struct oct_lines *l)
{
    if (lseek(l->fd, 0, SEEK_SET) < 0) {
        return OCT_FAIL(OCT_E_IO, "%s: %s", l->path, strerror(errno));
    }
    oct_buf_clear(&l->buf);
    l->at = 0;
    l->offset = l->next_offset = l->number = 0;
    l->end = l->complete = false;
    return OCT_OK;
}

/* Reads more behind what is left of buf. */
static oct_status fill(struct oct_lines *l)
{
    const size_t left = l->buf.len - l->at;
    if (left > 0 && l->at > 0) {
        memmove(l->buf.data, l->buf.data + l->at, left);
    }
    l->buf.len = left;
    l->at = 0;
    if (left > OCT_BATCH_MAX_LINE_BYTES) {
        return OCT_FAIL(OCT_E_LIMIT, "%s line %llu is longer than %d MiB", l->path,
                        (unsigned long long)l->number + 1, OCT_BATCH_MAX_LINE_BYTES >> 20);
    }
    OCT_TRY(oct_buf_reserve(&l->buf, READ_BYTES));
    ssize_t n;
    do {
        n = read(l->fd, l->buf.data + l->buf.len, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return OCT_FAIL(OCT_E_IO, "%s: %s", l->path, strerror(errno));
    }
    l->buf.len += (size_t)n;
    l->buf.data[l->buf.len] = '\0';
    l->end = n == 0;
    return OCT_OK;
}

oct_status oct_lines_next(struct oct_lines *l, const char **line, size_t *len)
{
    size_t searched = 0;
    for (;;) {
        const size_t left = l->buf.len - l->at;
        const char *start = left > 0 ? l->buf.data + l->at : "";
        const char *newline =
            left > searched ? memchr(start + searched, '\n', left - searched) : NULL;
        if (newline || (l->end && left > 0)) {
            *len = newline ? (size_t)(newline - start) : left;
            *line = start;
            l->complete = newline != NULL;
            l->at += *len + (newline ? 1 : 0);
            l->offset = l->next_offset;
            l->next_offset += *len + (newline ? 1 : 0);
            l->number++;
            return OCT_OK;
        }
        if (l->end) {
            *line = NULL;
            *len = 0;
            return OCT_OK;
        }
        searched = left;
        OCT_TRY(fill(l));
    }
}

/* ---- input ---- */

static bool is_blank(const char *line, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r') {
            return false;
        }
    }
    return true;
}

static oct_status parse_line(struct oct_lines *in, const char *line, size_t len, json_t **out)
{
    char where[320];
    (void)snprintf(where, sizeof where, "%.256s line %llu", in->path,
                   (unsigned long long)in->number);
    return oct_json_parse(line, len, where, OCT_JSON_MAX_DEPTH, 0, out);
}

static oct_status refuse(const struct oct_lines *in, const char *what)
{
    return OCT_FAIL(OCT_E_FORMAT, "%.256s line %llu: %s", in->path, (unsigned long long)in->number,
                    what);
}

static oct_status check_line(const struct oct_lines *in, struct oct_batch_line *l)
{
    const json_t *id = json_object_get(l->all, "custom_id");
    const char *method = json_string_value(json_object_get(l->all, "method"));
    const char *url = json_string_value(json_object_get(l->all, "url"));
    l->body = json_object_get(l->all, "body");
    l->custom_id = json_string_value(id);
    if (!l->custom_id || !*l->custom_id || json_string_length(id) > OCT_BATCH_MAX_ID_BYTES) {
        return refuse(in, "\"custom_id\" must be a string of 1 to 512 bytes");
    }
    if (strlen(l->custom_id) != json_string_length(id)) {
        return refuse(in, "\"custom_id\" holds a NUL character");
    }
    if (json_object_get(l->all, "method") && (!method || strcmp(method, "POST") != 0)) {
        return refuse(in, "\"method\" must be \"POST\"");
    }
    l->chat = url && !strcmp(url, "/v1/chat/completions");
    if (!l->chat && (!url || strcmp(url, "/v1/completions") != 0)) {
        return refuse(in, "\"url\" must be \"/v1/chat/completions\" or \"/v1/completions\"");
    }
    return json_is_object(l->body) ? OCT_OK : refuse(in, "\"body\" must be an object");
}

oct_status oct_batch_read(struct oct_lines *in, struct oct_batch_line *out, bool *found)
{
    const char *line;
    size_t len;
    do {
        OCT_TRY(oct_lines_next(in, &line, &len));
    } while (line && is_blank(line, len));
    *found = line != NULL;
    if (!line) {
        return OCT_OK;
    }
    struct oct_batch_line l = {0};
    OCT_TRY(parse_line(in, line, len, &l.all));
    const oct_status st = check_line(in, &l);
    if (st != OCT_OK) {
        oct_batch_line_deinit(&l);
        return st;
    }
    *out = l;
    return OCT_OK;
}

void oct_batch_line_deinit(struct oct_batch_line *l)
{
    json_decref(l->all);
    *l = (struct oct_batch_line){0};
}

static oct_status add_id(const struct oct_lines *in, json_t *ids, const char *id)
{
    if (json_object_get(ids, id)) {
        char shown[96], what[192];
        oct_error_quote(shown, sizeof shown, id, strlen(id));
        (void)snprintf(what, sizeof what, "custom_id \"%s\" was there before; each must be its own",
                       shown);
        return refuse(in, what);
    }
    return json_object_set_new(ids, id, json_false()) == 0 ? OCT_OK
                                                           : oct_no_memory("the list of ids", 1);
}

oct_status oct_batch_scan(struct oct_lines *in, json_t **ids)
{
    json_t *seen = json_object();
    if (!seen) {
        return oct_no_memory("the list of ids", 1);
    }
    for (;;) {
        struct oct_batch_line l = {0};
        bool found;
        oct_status st = oct_batch_read(in, &l, &found);
        st = st == OCT_OK && found ? add_id(in, seen, l.custom_id) : st;
        oct_batch_line_deinit(&l);
        if (st != OCT_OK) {
            json_decref(seen);
            return st;
        }
        if (!found) {
            break;
        }
    }
    const oct_status st = oct_lines_rewind(in);
    if (st != OCT_OK) {
        json_decref(seen);
        return st;
    }
    *ids = seen;
    return OCT_OK;
}

/* ---- results ---- */

/* One complete line of earlier results. */
static oct_status take_result(struct oct_lines *in, const char *line, size_t len, json_t *ids,
                              size_t *n_done, size_t *n_failed)
{
    json_t *o = NULL;
    OCT_TRY(parse_line(in, line, len, &o));
    const char *id = json_string_value(json_object_get(o, "custom_id"));
    const json_t *known = id ? json_object_get(ids, id) : NULL;
    oct_status st = OCT_OK;
    if (!known) {
        st =
            refuse(in, "this result belongs to no request of the input; give another file with -o, "
                       "or --overwrite");
    } else if (json_is_true(known)) {
        st = refuse(in, "this request has a result already; give another file with -o, or "
                        "--overwrite");
    } else if (json_object_set_new(ids, id, json_true()) != 0) {
        st = oct_no_memory("the list of ids", 1);
    } else {
        (*n_done)++;
        *n_failed += json_is_null(json_object_get(o, "error")) ? 0 : 1;
    }
    json_decref(o);
    return st;
}

/* Whether a line without an end, or with zeroes in it, is what was left of a result when the
 * process or the power went. Anything else is somebody's file, given by mistake: that is not cut.
 */
static bool is_remains(const struct oct_lines *l, const char *line, size_t len)
{
    enum { SECTOR_BYTES = 512 };
    static const char begin[] = "{\"id\":\"" OCT_BATCH_RESULT_ID;
    const size_t n_text = strnlen(line, len);
    const size_t n = n_text < sizeof begin - 1 ? n_text : sizeof begin - 1;
    if (memcmp(line, begin, n) != 0) {
        return false;
    }
    if (n_text > 0 || l->number > 1) {
        return true;
    }
    size_t n_zeroes = 0; /* from the very beginning: what never came is missing in whole sectors */
    while (n_zeroes < len && line[n_zeroes] == '\0') {
        n_zeroes++;
    }
    return n_zeroes % SECTOR_BYTES == 0 || n_zeroes == len;
}

/* Reads what is there; *size: up to the end of the last whole line before any damage. */
static oct_status read_back(const char *path, json_t *ids, size_t *n_done, size_t *n_failed,
                            uint64_t *size)
{
    struct oct_lines l = {0};
    oct_status st;
    OCT_TRY(oct_lines_open(path, &l));
    *size = 0;
    for (;;) {
        const char *line;
        size_t len;
        OCT_TRY_GOTO(oct_lines_next(&l, &line, &len), st, done);
        if (!line || ((!l.complete || memchr(line, '\0', len)) && is_remains(&l, line, len))) {
            break;
        }
        OCT_TRY_GOTO(take_result(&l, line, len, ids, n_done, n_failed), st, done);
        *size = l.next_offset;
    }
done:
    oct_lines_close(&l);
    return st;
}

oct_status oct_batch_results_open(const char *path, bool overwrite, json_t *ids, size_t *n_done,
                                  size_t *n_failed, struct oct_batch_results *out)
{
    struct oct_batch_results r = {.path = path, .synced_us = oct_clock_us()};
    *n_done = *n_failed = 0;
    r.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
    if (r.fd < 0) {
        return OCT_FAIL(OCT_E_IO, "%s: %s", path, strerror(errno));
    }
    oct_status st;
    OCT_TRY_GOTO(check_regular(r.fd, path), st, fail);
    if (flock(r.fd, LOCK_EX | LOCK_NB) != 0) {
        st = OCT_FAIL(OCT_E_BUSY, "%s is being written by another process", path);
        goto fail;
    }
    struct stat before;
    if (!overwrite) {
        OCT_TRY_GOTO(read_back(path, ids, n_done, n_failed, &r.size_bytes), st, fail);
    }
    if (fstat(r.fd, &before) != 0 || ftruncate(r.fd, (off_t)r.size_bytes) != 0) {
        st = OCT_FAIL(OCT_E_IO, "%s: %s", path, strerror(errno));
        goto fail;
    }
    r.cut_bytes = overwrite ? 0 : (uint64_t)before.st_size - r.size_bytes;
    r.synced_bytes = r.size_bytes; /* what others left is never taken back */
    /* Before anything is written behind it: new lines must not stand beside remains of old ones. */
    OCT_TRY_GOTO(oct_batch_results_sync(&r), st, fail);
    OCT_TRY_GOTO(oct_dir_sync(path), st, fail);
    *out = r;
    return OCT_OK;
fail:
    (void)close(r.fd);
    return st;
}

oct_status oct_batch_results_sync(struct oct_batch_results *r)
{
    r->synced_us = oct_clock_us();
    if (fdatasync(r->fd) != 0 && errno != EINVAL && errno != EROFS) { /* EINVAL: cannot be synced */
        const int e = errno;
        /* The kernel forgets what it could not write, and would tell the next sync that all is
         * well. */
        if (r->synced_bytes < r->size_bytes && ftruncate(r->fd, (off_t)r->synced_bytes) == 0) {
            r->size_bytes = r->synced_bytes;
        }
        return OCT_FAIL(
            OCT_E_IO,
            "%s: cannot be synced to the disk: %s; %llu bytes of results are there, run "
            "the same command again to go on",
            r->path, strerror(e), (unsigned long long)r->synced_bytes);
    }
    r->synced_bytes = r->size_bytes;
    return OCT_OK;
}

oct_status oct_batch_results_sync_if_due(struct oct_batch_results *r)
{
    const bool is_due = r->synced_bytes < r->size_bytes && oct_clock_us() - r->synced_us > SYNC_US;
    return is_due ? oct_batch_results_sync(r) : OCT_OK;
}

oct_status oct_batch_results_add(struct oct_batch_results *r, const json_t *line)
{
    struct oct_buf b = {0};
    oct_status st;
    OCT_TRY_GOTO(oct_json_append(&b, line, JSON_COMPACT), st, done);
    OCT_TRY_GOTO(oct_buf_append(&b, "\n", 1), st, done);
    for (size_t at = 0; at < b.len;) {
        const ssize_t n = write(r->fd, b.data + at, b.len - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            const int e = n < 0 ? errno : ENOSPC;
            const bool cut = ftruncate(r->fd, (off_t)r->size_bytes) == 0;
            st = OCT_FAIL(OCT_E_IO,
                          "%s: %s; %llu bytes of complete results are kept%s, run the same command "
                          "again to go on",
                          r->path, strerror(e), (unsigned long long)r->size_bytes,
                          cut ? "" : " and a broken line behind them");
            goto done;
        }
        at += (size_t)n;
    }
    r->size_bytes += b.len;
    st = oct_batch_results_sync_if_due(r);
done:
    oct_buf_free(&b);
    return st;
}

void oct_batch_results_close(struct oct_batch_results *r)
{
    if (r->path) {
        if (r->synced_bytes < r->size_bytes && oct_batch_results_sync(r) != OCT_OK) {
            oct_note("octavo: %s", oct_last_error());
        }
        (void)close(r->fd);
    }
    *r = (struct oct_batch_results){0};
}
