/* SPDX-License-Identifier: Apache-2.0 */
#include "model/tensor.h"

static const struct oct_dtype_info infos[OCT_N_DTYPES] = {
#define DTYPE_INFO(id, name, block, bytes, used) {name, block, bytes, used},
    OCT_DTYPES(DTYPE_INFO)
#undef DTYPE_INFO
};

const struct oct_dtype_info *oct_dtype_info(enum oct_dtype t)
{
    OCT_ASSERT((unsigned)t < OCT_N_DTYPES);
    return &infos[t];
}
