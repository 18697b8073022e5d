/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sized.h"

#include <string.h>

static uint32_t size_of(const void *sized)
{
    uint32_t size;
    memcpy(&size, sized, sizeof size);
    return size;
}

oct_status oct_sized_read(void *dst, uint32_t size, uint32_t first, const void *caller,
                          const char *name, const char *init)
{
    const uint32_t theirs = size_of(caller);
    if (theirs < first || theirs > 64 * 1024) {
        return OCT_FAIL(OCT_E_ARG,
                        "struct %s says it has %u bytes, this library's has %u; fill it "
                        "with %s",
                        name, theirs, size, init);
    }
    for (uint32_t i = size; i < theirs; i++) {
        if (((const unsigned char *)caller)[i]) {
            return OCT_FAIL(OCT_E_UNSUPPORTED,
                            "struct %s sets a field that this version of the library (%s) does not "
                            "have; leave it zero or use a newer library",
                            name, oct_version());
        }
    }
    memcpy(dst, caller, theirs < size ? theirs : size);
    memcpy(dst, &size, sizeof size);
    return OCT_OK;
}

void oct_sized_write(void *caller, const void *src, uint32_t size)
{
    const uint32_t theirs = size_of(caller);
    memcpy(caller, src, theirs < size ? theirs : size);
    memcpy(caller, &theirs, theirs < sizeof theirs ? theirs : sizeof theirs);
}
