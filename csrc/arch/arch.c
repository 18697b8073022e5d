/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/arch.h"

/* To add a family: its file, its row here, its id in model/config.h. */
static const struct oct_arch *const families[] = {
    &oct_arch_llama,
    &oct_arch_qwen2,
    &oct_arch_qwen3,
    &oct_arch_mistral,
};

const struct oct_arch *oct_arch_get(enum oct_arch_id id)
{
    const struct oct_arch *found = NULL;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        found = families[i]->id == id ? families[i] : found;
    }
    OCT_ASSERT(found); /* every id of model/config.h has a family */
    return found;
}
