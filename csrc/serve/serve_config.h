/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_config.h - what `octavo serve` was told: the flags of the server's group, checked, and the
 * files they name read, which has to be before the sandbox. */
#ifndef OCT_SERVE_CONFIG_H
#define OCT_SERVE_CONFIG_H

#include "serve/command.h"

#include "api/api.h"

enum { OCT_SERVE_MAX_NAMES = 64, OCT_SERVE_MAX_KEYS = 1024, OCT_SERVE_MAX_KEY_BYTES = 512 };

struct oct_serve_config {
    struct oct_api_config api; /* but for its log */
    struct oct_http_limits http;
    const char *model_path;
    const char *host, *uds, *cert_path, *key_path; /* NULL: none */
    uint16_t port;
    int64_t shutdown_us;
    int64_t self_test_us; /* 0: none */
    bool exit_on_device_failure, json_log;
    bool is_loopback; /* nobody outside the machine reaches it */
    struct oct_arena arena;
};

OCT_CHECKED oct_status oct_serve_config_read(const struct oct_params *p,
                                             struct oct_serve_config *out);
void oct_serve_config_deinit(struct oct_serve_config *c);

#endif
