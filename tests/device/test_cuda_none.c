/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine without a driver: a sentence, and nothing else happens. */
#include "device/cuda.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>

Test(cuda_none, a_machine_without_a_driver_is_told_so)
{
    if (dlopen("libcuda.so.1", RTLD_NOW)) {
        cr_skip_test("this machine has a libcuda.so.1");
    }
    char why[256] = "";
    struct oct_device *d = NULL;
    struct oct_cuda_about about;
    const char *words = OCT_HAS_CUDA ? "no NVIDIA driver: libcuda.so.1" : "no CUDA kernels";
    cr_assert(!oct_cuda_present(why, sizeof why));
    cr_assert(strstr(why, words), "%s", why);
    cr_assert_eq(oct_cuda_count(), 0);
    cr_assert_eq(oct_cuda_open(0, 1, &d), OCT_E_UNSUPPORTED);
    cr_assert(strstr(oct_last_error(), words), "%s", oct_last_error());
    cr_assert_eq(oct_cuda_about(0, &about), OCT_E_UNSUPPORTED);
    cr_assert_null(d);
}
