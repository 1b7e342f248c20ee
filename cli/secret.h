#pragma once

/* Passphrases. The clear text exists only inside these functions; what they return is a sealed memfd. */

#include <quarry/error.h>

/* The bytes of a file as they are, a newline at the end included, as cryptsetup takes --key-file; "-" is
 * standard input up to its end. Returns the descriptor. */
int secret_from_file(const char *path, Error *err);

/* The same, of another option: "--new-key-file". */
int secret_from_file_of(const char *option, const char *path, Error *err);

/* Asks on the terminal, without echo; twice if confirm. What is typed ends before the newline. */
int secret_from_terminal(const char *prompt, bool confirm, Error *err);
