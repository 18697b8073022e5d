/* SPDX-License-Identifier: Apache-2.0
 *
 * cert.h - a self-signed certificate for an hour, made when a test needs it. */
#ifndef TESTS_HTTP_CERT_H
#define TESTS_HTTP_CERT_H

struct cert {
    char dir[32], cert[64], key[64], other[64]; /* other: a key that does not belong to it */
};

void cert_make(struct cert *c);
void cert_remove(struct cert *c);

#endif
