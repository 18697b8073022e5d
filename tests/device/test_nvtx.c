/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges reach a profiler that attaches, and nothing happens without one. */
#include "device/nvtx.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <stdlib.h>

static void two_ranges(void)
{
    oct_nvtx_push("step");
    oct_nvtx_push("gemm");
    oct_nvtx_pop();
    oct_nvtx_pop();
}

Test(nvtx, a_profiler_hears_the_ranges)
{
    (void)setenv("NVTX_INJECTION64_PATH", NVTX_TOOL, 1);
    two_ranges();
    void *lib = dlopen(NVTX_TOOL, RTLD_NOW);
    cr_assert(lib, "%s", dlerror());
    const char *heard = dlsym(lib, "nvtx_tool_heard");
    cr_assert(heard);
    cr_assert_str_eq(heard, "push step\npush gemm\npop\npop\n");
}

Test(nvtx, without_a_profiler_nothing_happens)
{
    (void)unsetenv("NVTX_INJECTION64_PATH");
    two_ranges();
}

Test(nvtx, a_library_that_is_none_is_ignored)
{
    (void)setenv("NVTX_INJECTION64_PATH", "/does/not/exist.so", 1);
    two_ranges();
    (void)setenv("NVTX_INJECTION64_PATH", "", 1);
    two_ranges();
}
