/* SPDX-License-Identifier: Apache-2.0
 *
 * device.h - which device a test program's engines run on. The same test is built for the CPU and,
 * with OCT_TEST_DEVICE="cuda", for the virtual GPU (tests/cuda/CMakeLists.txt). */
#ifndef OCT_TEST_DEVICE_H
#define OCT_TEST_DEVICE_H

#ifndef OCT_TEST_DEVICE
#define OCT_TEST_DEVICE "cpu"
#endif

/* On the virtual GPU a step takes a hundred times as long: tests do less of the same. */
enum { ON_CPU = sizeof OCT_TEST_DEVICE == sizeof "cpu" };

#endif
