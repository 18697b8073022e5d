/* SPDX-License-Identifier: Apache-2.0
 *
 * stub_cuda.c - with stub_all.c a libcuda.so.1 that only says of what version it is (STUB_VERSION),
 * how many devices there are (STUB_COUNT) and which (STUB_CC: 75 is compute capability 7.5): the
 * drivers and devices that we refuse. */
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
EXPORT int cuDriverGetVersion(int *version);
EXPORT int cuDeviceGetCount(int *n);
EXPORT int cuDeviceGetName(char *name, int room, int dev);
EXPORT int cuDeviceGetAttribute(int *value, int attribute, int dev);

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

int cuDriverGetVersion(int *version)
{
    *version = number("STUB_VERSION", 13000);
    return 0;
}

int cuDeviceGetCount(int *n)
{
    *n = number("STUB_COUNT", 1);
    return 0;
}

int cuDeviceGetName(char *name, int room, int dev)
{
    (void)dev;
    (void)strncpy(name, "Stub", (size_t)room);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int dev)
{
    enum { MAJOR = 75, MINOR = 76 };
    const int cc = number("STUB_CC", 80);
    (void)dev;
    *value = attribute == MAJOR ? cc / 10 : attribute == MINOR ? cc % 10 : 4096;
    return 0;
}
