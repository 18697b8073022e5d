/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fault.h"
#include "base/mem.h"

#include <criterion/criterion.h>
#include <string.h>

Test(mem, an_arena_hands_out_zeroed_aligned_memory)
{
    struct oct_arena a = {0};
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = oct_arena_alloc(&a, n);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % 16, 0u, "n=%zu", n);
        for (size_t i = 0; i < n; i++) {
            cr_assert_eq(p[i], 0, "n=%zu i=%zu", n, i);
        }
        memset(p, 0xa5, n);
    }
    cr_assert_not_null(oct_arena_alloc(&a, 10 << 20));
    cr_assert_null(oct_arena_alloc(&a, SIZE_MAX - 3));
    oct_arena_free(&a);
    cr_assert_null(a.head);
}

Test(mem, a_buffer_refuses_to_pass_its_limit_and_keeps_what_it_had)
{
    struct oct_buf b = {.max_bytes = 10};
    cr_assert_eq(oct_buf_append(&b, "12345", 5), OCT_OK);
    cr_assert_eq(oct_buf_append(&b, "67890", 5), OCT_OK);
    cr_assert_eq(oct_buf_append(&b, "x", 1), OCT_E_LIMIT);
    cr_assert_str_eq(b.data, "1234567890");
    oct_buf_clear(&b);
    cr_assert_eq(oct_buf_printf(&b, "%d-%s", 42, "ab"), OCT_OK);
    cr_assert_str_eq(b.data, "42-ab");
    cr_assert_eq(b.len, 5u);
    oct_buf_free(&b);
}

#if OCT_FAULTS
Test(mem, the_armed_call_fails_and_only_that_one)
{
    oct_fault_reset();
    oct_fault_arm(OCT_FAULT_MEM, 3, false, OCT_FAULT_FAIL);
    void *p[4];
    for (int i = 0; i < 4; i++) {
        p[i] = oct_malloc(8);
        cr_assert_eq(p[i] == NULL, i == 2, "call %d", i + 1);
    }
    for (int i = 0; i < 4; i++) {
        oct_free(p[i]);
    }
    oct_fault_reset();
}
#endif
