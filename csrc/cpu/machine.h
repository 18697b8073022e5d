/* SPDX-License-Identifier: Apache-2.0
 *
 * machine.h - what this process may use of the machine: cores and memory, container limits
 * included. */
#ifndef OCT_CPU_MACHINE_H
#define OCT_CPU_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/* Cores in this process's affinity mask, or fewer if its control group grants less time. >= 1. */
int oct_machine_cores(void);

/* Bytes of physical memory, or this process's control group limit if that is smaller. 0: unknown.
 */
uint64_t oct_machine_memory(void);

/* Asks for huge pages behind [p, p + bytes), memory that is not touched yet: a weight is read from
 * end to end for each token, and every 4 KiB page costs a walk through the page tables. Only a
 * wish: small pages work too. */
enum { OCT_HUGE_PAGE = 2 << 20 };
void oct_machine_want_huge_pages(void *p, size_t bytes);

#endif
