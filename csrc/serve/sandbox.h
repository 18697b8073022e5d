/* SPDX-License-Identifier: Apache-2.0
 *
 * sandbox.h - before a model file is parsed, the process gives up what a file that took it over
 * would want: every other file (Landlock), and programs, the network and the system's deeper doors
 * (seccomp). Nothing is needed from the administrator, and nothing can be taken back.
 *
 * Readable afterwards: the model, system libraries, the process's own entries in /proc and what
 * says how much memory and how many cores there are. Writable: nothing but what is already open.
 * Refused calls fail with EPERM. Limits (setrlimit, soft and hard): no core dump, which would hold
 * the user's prompts; OCT_SANDBOX_FILES open files; as much memory as the machine has, so that a
 * file that slips past the plan gets an error and not the machine's other processes. Where the
 * kernel has no Landlock or no seccomp, that half is missing and the report says so.
 *
 * In a build with a sanitizer ptrace stays allowed: the leak check is made of it. */
#ifndef OCT_SERVE_SANDBOX_H
#define OCT_SERVE_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oct_sandbox_report {
    int landlock_abi; /* 0: the kernel has none */
    bool seccomp;
    uint64_t max_data_bytes; /* memory of its own that the process may map; 0: not bounded */
    uint64_t max_files;      /* that may be open at once */
};

enum {
    OCT_SANDBOX_FILES = 2048, /* a sharded model's 1,000 files, and room */
};

/* What a server needs more: connections come in on sockets that listen already. */
struct oct_sandbox_needs {
    bool accepts;
    uint64_t n_files; /* open at once; 0: OCT_SANDBOX_FILES */
};

/* Binds this thread and those it will start: call it while there is one. model_path: a directory,
 * or a file and the splits of its set; a Hugging Face cache's blobs come with its snapshot. A path
 * that does not exist is left for the loader to report. needs: NULL for none. */
struct oct_sandbox_report oct_sandbox_enter(const char *model_path,
                                            const struct oct_sandbox_needs *needs);

#endif
