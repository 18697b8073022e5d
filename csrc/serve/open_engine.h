/* SPDX-License-Identifier: Apache-2.0
 *
 * open_engine.h - an engine as the knobs say, with the loading line; what all commands that run a
 * model share. */
#ifndef OCT_SERVE_OPEN_ENGINE_H
#define OCT_SERVE_OPEN_ENGINE_H

#include "serve/command.h"

#include "octavo.h"

/* The options that --dtype, --threads, --device, --max-model-len and the other knobs of the model's
 * group give. */
struct oct_engine_options oct_command_options(const struct oct_params *p, const char *model_path);

/* Says on standard error, once a command, what --gemm-provider cublaslt takes away. */
void oct_command_note_products(const struct oct_engine_options *o);

/* Opens it and shows how far loading is. Ctrl-C gives up, where oct_interrupt_install was called.
 */
OCT_CHECKED oct_status oct_command_open(const struct oct_engine_options *o, oct_engine **out);

#endif
