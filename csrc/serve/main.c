/* SPDX-License-Identifier: Apache-2.0 */
#include "octavo.h"

#include <stdio.h>

int main(void)
{
    (void)printf("octavo %s\n", oct_version());
    return 0;
}
