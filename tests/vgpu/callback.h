// SPDX-License-Identifier: Apache-2.0
//
// callback.h - what a thread of the program holds: its stack of contexts, and whether it is inside
// a host function, where no driver call is allowed.
#ifndef VG_CALLBACK_H
#define VG_CALLBACK_H

#include "driver.h"

CUcontext vg_context_pop(void);         // NULL: the stack is empty
CUresult vg_context_set(CUcontext ctx); // replaces the top; NULL pops it
void vg_callback_begin(void);
void vg_callback_end(void);

#endif
