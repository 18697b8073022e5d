/* SPDX-License-Identifier: Apache-2.0
 *
 * serve_socket.h - the file of a Unix socket goes when the server goes, also by kill -9.
 *
 * The sandbox lets the server remove nothing. So a process of its own, from before the sandbox and
 * with nothing open but one end of a pipe and the file, waits until the pipe's other end closes,
 * which is when the server has ended, and removes the file if it is still that one. */
#ifndef OCT_SERVE_SERVE_SOCKET_H
#define OCT_SERVE_SERVE_SOCKET_H

/* path: of a socket that this process has bound. Call it while there is one thread. Where no
 * process can be started the file stays, and the next server replaces it. */
void oct_serve_socket_remove_later(const char *path);

#endif
