/* SPDX-License-Identifier: Apache-2.0
 *
 * io.h - files, read without trusting them.
 *
 * Contents come through positioned reads, never through a memory map: a mapped file that somebody
 * shortens raises SIGBUS in the middle of a load, a read only comes back short and turns into a
 * sentence. Nothing keeps a file open after loading. A test build can fail the k-th open and read.
 */
#ifndef OCT_BASE_IO_H
#define OCT_BASE_IO_H

#include "base/status.h"

struct oct_file {
    int fd;
    uint64_t size_bytes; /* when it was opened */
    char *path;          /* owned; for sentences */
};

/* Opens a regular file for reading. The path is the user's own and may be a symbolic link; a
 * directory, FIFO, socket or device is refused (without blocking on it). */
OCT_CHECKED oct_status oct_file_open(const char *path, struct oct_file *out);

/* Opens `name` inside the directory `dir`. Names come from untrusted files: only a plain file name
 * (no '/', not "." or "..") is taken, and the file must lie inside `dir`. One exception, so that a
 * Hugging Face cache loads as it is: a link of the form ../../blobs/<name> out of a directory
 * <repo>/snapshots/<revision> (../../../blobs/<name> out of additional_chat_templates in that).
 * OCT_E_NOTFOUND if there is no such file. */
OCT_CHECKED oct_status oct_file_open_in(const char *dir, const char *name, struct oct_file *out);

/* Reads exactly size bytes at offset, or fails: OCT_E_FORMAT if the file ends before that (it was
 * cut short), OCT_E_IO otherwise. Safe from several threads at once. */
OCT_CHECKED oct_status oct_file_read(const struct oct_file *f, uint64_t offset, void *dst,
                                     size_t size);

/* The whole file, NUL-terminated (the NUL is not counted); refused over max_bytes before anything
 * is allocated. *data is given away (oct_free). */
OCT_CHECKED oct_status oct_file_slurp(const struct oct_file *f, size_t max_bytes, char **data,
                                      size_t *len);

void oct_file_close(struct oct_file *f); /* {0}-initialised or closed files are fine */

/* OCT_OK and *is_dir set, or OCT_E_NOTFOUND / OCT_E_IO. Follows links. */
OCT_CHECKED oct_status oct_path_kind(const char *path, bool *is_dir);

/* Writes a new file beside `path` and renames it over it, so that readers, and whoever comes after
 * power was lost, see the old or the new contents whole; nothing is left behind on failure. */
OCT_CHECKED oct_status oct_file_replace(const char *path, const void *data, size_t len);

/* The name of a file that was made or renamed is on the disk, not only in its cache: the file's own
 * fsync does not promise that. Where the directory or its file system cannot be synced, nothing is
 * done. */
OCT_CHECKED oct_status oct_dir_sync(const char *path);

#endif
