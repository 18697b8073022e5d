/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/model_files.h"

oct_status oct_model_files_open(const char *path, struct oct_model_files *out)
{
    struct oct_model_files m = {0};
    oct_status st;
    OCT_TRY_GOTO(oct_source_open(path, &m.source), st, fail);
    OCT_TRY_GOTO(oct_config_load(m.source, &m.config), st, fail);
    OCT_TRY_GOTO(oct_vocab_load(m.source, &m.config, &m.vocab), st, fail);
    *out = m;
    return OCT_OK;
fail:
    oct_model_files_close(&m);
    return st;
}

void oct_model_files_close(struct oct_model_files *m)
{
    oct_vocab_destroy(m->vocab);
    oct_source_close(m->source);
    *m = (struct oct_model_files){0};
}
