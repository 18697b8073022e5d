/* SPDX-License-Identifier: Apache-2.0 */
#include "api/page.h"

#include "api/call.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* page.html, as it is; the assembler finds it on its include path. */
__asm__(".pushsection .rodata\n"
        ".global oct_page_begin\n"
        ".hidden oct_page_begin\n"
        "oct_page_begin:\n"
        ".incbin \"page.html\"\n"
        ".global oct_page_end\n"
        ".hidden oct_page_end\n"
        "oct_page_end:\n"
        ".byte 0\n"
        ".popsection\n");
extern const char oct_page_begin[], oct_page_end[];

const char *oct_page_html(size_t *len)
{
    *len = (size_t)((uintptr_t)oct_page_end - (uintptr_t)oct_page_begin);
    return oct_page_begin;
}

/* 'sha256-...' of what stands between <tag> and </tag>, as a browser hashes it. */
static oct_status hash_of(const char *tag, char *dst, size_t size)
{
    size_t len;
    const char *html = oct_page_html(&len);
    char open[16], close[16];
    (void)snprintf(open, sizeof open, "\n<%s>", tag);
    (void)snprintf(close, sizeof close, "</%s>", tag);
    const char *from = memmem(html, len, open, strlen(open));
    OCT_ASSERT(from);
    from += strlen(open);
    const char *to = memmem(from, len - (size_t)(from - html), close, strlen(close));
    OCT_ASSERT(to);
    unsigned char sum[32], text[45]; /* a SHA-256, and that in base64 */
    unsigned n = 0;
    if (!EVP_Digest(from, (size_t)(to - from), sum, &n, EVP_sha256(), NULL)) {
        return oct_no_memory("a hash", sizeof sum);
    }
    (void)EVP_EncodeBlock(text, sum, (int)n);
    (void)snprintf(dst, size, "'sha256-%s'", (const char *)text);
    return OCT_OK;
}

oct_status oct_page_policy(char *dst, size_t size)
{
    char script[80], style[80];
    OCT_TRY(hash_of("script", script, sizeof script));
    OCT_TRY(hash_of("style", style, sizeof style));
    const int n = snprintf(dst, size,
                           "default-src 'none'; script-src %s; style-src %s; connect-src 'self'; "
                           "img-src data:; base-uri 'none'; form-action 'none'; "
                           "frame-ancestors 'none'; require-trusted-types-for 'script'; "
                           "trusted-types 'none'",
                           script, style);
    OCT_ASSERT(n > 0 && (size_t)n < size);
    return OCT_OK;
}

void oct_api_page(struct oct_api *a, struct oct_http_exchange *x)
{
    static const char plain[] = "Ollama is running";
    const char *accept = oct_http_header(x, "accept");
    if (!accept || !strstr(accept, "text/html")) {
        /* What programs that look for an Ollama server ask for. */
        oct_http_respond(x, 200, "text/plain; charset=utf-8", plain, sizeof plain - 1);
        return;
    }
    char policy[OCT_PAGE_POLICY_BYTES];
    if (oct_page_policy(policy, sizeof policy) != OCT_OK) {
        oct_api_send_error(a, x, 500, oct_last_error());
        return;
    }
    size_t len;
    const char *html = oct_page_html(&len);
    oct_http_add_header(x, "content-security-policy", policy);
    oct_http_add_header(x, "x-content-type-options", "nosniff");
    oct_http_add_header(x, "referrer-policy", "no-referrer");
    oct_http_add_header(x, "cache-control", "no-cache");
    oct_http_add_header(x, "vary", "accept");
    oct_http_respond(x, 200, "text/html; charset=utf-8", html, len);
}
