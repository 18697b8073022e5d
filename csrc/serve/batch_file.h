/* SPDX-License-Identifier: Apache-2.0
 *
 * batch_file.h - the two files of `octavo batch`, in OpenAI's batch format: one JSON object a line.
 *
 * Results are appended a whole line at a time and never changed, so that a run that was killed
 * leaves complete lines and at most one broken one at the end. Where power was lost, what had not
 * been synced may be missing, cut anywhere, or hold zeroes where data should be, with good lines
 * behind them. The next run keeps what is whole up to the first damage and cuts off the rest; what
 * was synced is never damaged. */
#ifndef OCT_SERVE_BATCH_FILE_H
#define OCT_SERVE_BATCH_FILE_H

#include "base/mem.h"

#include <jansson.h>

enum {
    OCT_BATCH_MAX_LINE_BYTES = 64 << 20,
    OCT_BATCH_MAX_ID_BYTES = 512,
};
/* What the "id" of a result begins with; it is the first member. */
#define OCT_BATCH_RESULT_ID "batch_req_"

/* Reads a file line by line. */
struct oct_lines {
    int fd; /* owned */
    char *path;
    struct oct_buf buf;
    size_t at;       /* next byte of buf */
    uint64_t offset; /* in the file, of the line last given */
    uint64_t next_offset;
    uint64_t number; /* of that line, from 1 */
    bool complete;   /* it ended with a newline */
    bool end;
};
OCT_CHECKED oct_status oct_lines_open(const char *path, struct oct_lines *out);
void oct_lines_close(struct oct_lines *l);
OCT_CHECKED oct_status oct_lines_rewind(struct oct_lines *l);
/* *line is borrowed until the next call, without its newline; NULL: the end. */
OCT_CHECKED oct_status oct_lines_next(struct oct_lines *l, const char **line, size_t *len);

/* A line of the input. */
struct oct_batch_line {
    json_t *all;           /* owned */
    const char *custom_id; /* into all, as is body */
    bool chat;
    json_t *body;
};
/* The next line that is not blank; *found false at the end. A line that is not a request is refused
 * with its number. */
OCT_CHECKED oct_status oct_batch_read(struct oct_lines *in, struct oct_batch_line *out,
                                      bool *found);
void oct_batch_line_deinit(struct oct_batch_line *l);

/* Checks every line of the input and collects the ids: *ids, an object, maps each to false. Leaves
 * the input at its start. */
OCT_CHECKED oct_status oct_batch_scan(struct oct_lines *in, json_t **ids);

/* The results. */
struct oct_batch_results {
    int fd; /* owned */
    const char *path;
    uint64_t size_bytes;   /* of the complete lines */
    uint64_t synced_bytes; /* of them on the disk */
    uint64_t cut_bytes;    /* of what was damaged when it was opened */
    int64_t synced_us;
};
/* Opens the file, or makes it; nobody else may write it meanwhile. overwrite: empties it. Otherwise
 * what it has counts: *n_done results, whose ids become true in `ids`; *n_failed of them failed.
 * What is kept is on the disk then, and so is the file's name. */
OCT_CHECKED oct_status oct_batch_results_open(const char *path, bool overwrite, json_t *ids,
                                              size_t *n_done, size_t *n_failed,
                                              struct oct_batch_results *out);
/* Appends one line; on failure nothing of it stays. */
OCT_CHECKED oct_status oct_batch_results_add(struct oct_batch_results *r, const json_t *line);
/* On the disk, not only in its cache. What cannot be brought there is taken back: nobody may count
 * on it later. */
OCT_CHECKED oct_status oct_batch_results_sync(struct oct_batch_results *r);
/* The same if there is something to sync and the last time was a second ago: to be called often. */
OCT_CHECKED oct_status oct_batch_results_sync_if_due(struct oct_batch_results *r);
void oct_batch_results_close(struct oct_batch_results *r); /* with a last sync if one is missing */

#endif
