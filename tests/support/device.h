/* SPDX-License-Identifier: Apache-2.0
 *
 * device.h - which device a test program's engines run on. The same test is built for the CPU and,
 * with OCT_TEST_DEVICE="cuda", for the virtual GPU (tests/cuda/CMakeLists.txt). */
#ifndef OCT_TEST_DEVICE_H
#define OCT_TEST_DEVICE_H

#ifndef OCT_TEST_DEVICE
#define OCT_TEST_DEVICE "cpu"
#endif

#endif
