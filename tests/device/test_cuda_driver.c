/* SPDX-License-Identifier: Apache-2.0
 *
 * Drivers and devices that will not do are named in a sentence. The driver here is stub_cuda.c. */
#include "device/cuda.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

struct machine {
    const char *version, *count, *cc;
    const char *words;
};

static void refused(const struct machine *m)
{
    char why[256] = "";
    struct oct_device *d = NULL;
    (void)setenv("STUB_VERSION", m->version, 1);
    (void)setenv("STUB_COUNT", m->count, 1);
    (void)setenv("STUB_CC", m->cc, 1);
    cr_assert(!oct_cuda_present(why, sizeof why));
    cr_assert(strstr(why, m->words), "\"%s\" does not say \"%s\"", why, m->words);
    cr_assert_str_eq(oct_last_error(), "", "a question leaves no error");
    cr_assert_eq(oct_cuda_open(0, 1, &d), OCT_E_UNSUPPORTED);
    cr_assert(strstr(oct_last_error(), m->words), "\"%s\"", oct_last_error());
    cr_assert_null(d);
    cr_assert(!oct_cuda_present(NULL, 0));
    cr_assert(!oct_cuda_present(why, 8) && strlen(why) == 7, "cut to the room there is");
}

#if OCT_HAS_CUDA
#define NEEDS(words) words
#else
#define NEEDS(words) "no CUDA kernels: it was made without nvcc"
#endif

Test(cuda_driver, one_that_is_too_old)
{
    refused(&(struct machine){"11080", "1", "80", NEEDS("it is for CUDA 11.8, 12.0 or later")});
}

Test(cuda_driver, no_device)
{
    refused(&(struct machine){"13000", "0", "80", NEEDS("the driver sees no GPU")});
}

Test(cuda_driver, devices_without_kernels)
{
    static const struct machine rows[] = {
        {"13000", "1", "75", NEEDS("cuda:0 (Stub) has compute capability 7.5")},
        {"13000", "1", "86", NEEDS("compute capability 8.6; the kernels are made for 8.0")},
        {"13000", "1", "100", NEEDS("compute capability 10.0")},
        {"13000", "1", "121", NEEDS("compute capability 12.1")},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        refused(&rows[i]);
    }
}

Test(cuda_driver, what_a_device_is_can_be_asked_though_it_will_not_do)
{
    struct oct_cuda_about about;
    (void)setenv("STUB_CC", "89", 1);
    (void)setenv("STUB_VERSION", "12080", 1);
    cr_assert_eq(oct_cuda_count(), 1);
    cr_assert_eq(oct_cuda_about(0, &about), OCT_OK);
    cr_assert_eq(about.sm, 89);
    cr_assert_eq(about.driver, 12080);
    cr_assert_str_eq(about.name, "Stub");
}
