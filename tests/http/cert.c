/* SPDX-License-Identifier: Apache-2.0 */
#include "http/cert.h"

#include "base/status.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static EVP_PKEY *write_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");
    OCT_ASSERT(key && f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    (void)fclose(f);
    return key;
}

void cert_make(struct cert *c)
{
    (void)snprintf(c->dir, sizeof c->dir, "/tmp/octavo-tls-XXXXXX");
    OCT_ASSERT(mkdtemp(c->dir));
    (void)snprintf(c->cert, sizeof c->cert, "%s/cert.pem", c->dir);
    (void)snprintf(c->key, sizeof c->key, "%s/key.pem", c->dir);
    (void)snprintf(c->other, sizeof c->other, "%s/other.pem", c->dir);
    EVP_PKEY_free(write_key(c->other));
    EVP_PKEY *key = write_key(c->key);
    X509 *x = X509_new();
    OCT_ASSERT(X509_set_version(x, X509_VERSION_3) &&
               ASN1_INTEGER_set(X509_get_serialNumber(x), 1));
    OCT_ASSERT(X509_gmtime_adj(X509_getm_notBefore(x), -60) &&
               X509_gmtime_adj(X509_getm_notAfter(x), 3600));
    X509_NAME *name = X509_get_subject_name(x);
    OCT_ASSERT(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                          (const unsigned char *)"localhost", -1, -1, 0));
    OCT_ASSERT(X509_set_issuer_name(x, name) && X509_set_pubkey(x, key) &&
               X509_sign(x, key, EVP_sha256()));
    FILE *f = fopen(c->cert, "w");
    OCT_ASSERT(f && PEM_write_X509(f, x));
    (void)fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

void cert_remove(struct cert *c)
{
    (void)unlink(c->cert);
    (void)unlink(c->key);
    (void)unlink(c->other);
    (void)rmdir(c->dir);
}
