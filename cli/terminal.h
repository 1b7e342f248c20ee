#pragma once

/* What only a terminal gets: colour, questions, a line of progress. */

#include <quarry/base.h>

#include <stdio.h>

typedef enum Style { STYLE_BOLD, STYLE_RED, STYLE_UNDERLINE, STYLE_END } Style;

/* The escape sequence, or "" where it does not belong: no terminal, TERM=dumb, NO_COLOR. */
const char *terminal_style(FILE *stream, Style style);

/* Columns of the terminal behind stream; 0 if it is none. */
size_t terminal_width(FILE *stream);

/* Whether somebody is there to answer. */
bool terminal_can_ask(void);

/* Asks on stderr; true only for "y" or "yes". */
bool terminal_confirm(const char *question);

/* "what: step (2/5)" on stderr, over the line before; without the numbers if total is 0. Nothing without a terminal. */
void progress_show(const char *what, const char *step, uint64_t position, uint64_t total);
void progress_clear(void);

/* Places that text takes on a terminal: UTF-8, with wide and combining characters. */
size_t text_width(const char *s);

typedef enum Cut { CUT_NOTHING, CUT_END, CUT_START } Cut;

/* A copy in which "..." stands for what does not fit into width places, at the given end. */
char *text_cut(const char *s, size_t width, Cut cut);
