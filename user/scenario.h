/* SPDX-License-Identifier: MIT */
/*
 * The scenario language: a text file is parsed whole into a list of actions before the first is
 * taken. docs/scenario.md is the language's reference.
 *
 * Everything here is plain data without pointers, so that it can be copied to a child's memory.
 */
#ifndef USER_SCENARIO_H
#define USER_SCENARIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "text.h"

#define SCN_ARENA	 (1ull << 36) /* base of the arena; also there with 39-bit addresses */
#define SCN_ARENA_END	 (1ull << 37)
#define SCN_MAX_TEXT	 65536
#define SCN_MAX_ACTIONS	 512
#define SCN_MAX_TOKENS	 4096
#define SCN_MAX_NAMES	 64
#define SCN_MAX_TASKS	 16
#define SCN_MAX_ARGS	 6
#define SCN_MAX_DEPTH	 24 /* of parentheses; also the most values an expression keeps */

enum scn_op {
	OP_MMAP, OP_MUNMAP, OP_MPROTECT, OP_MREMAP, OP_BRK, OP_MADVISE, OP_MLOCK, OP_MLOCK2,
	OP_MUNLOCK, OP_MLOCKALL, OP_MUNLOCKALL, OP_MSYNC, OP_MINCORE, OP_REMAP_FILE_PAGES,
	OP_LOAD, OP_STORE, OP_EXEC, OP_FILL, OP_CHECK, OP_COPYIN, OP_COPYOUT,
	OP_FORK, OP_WAIT, OP_EXIT,
	OP_MEMFD, OP_OPEN, OP_DUP, OP_CLOSE, OP_FTRUNCATE, OP_PREAD, OP_PWRITE, OP_FALLOCATE,
	OP_PIPE, OP_SEAL, OP_UNLINK,
	OP_SETRLIMIT, OP_DROPCAPS, OP_SYSCTL,
	OP_MAPS, OP_MAPNAME, OP_AREA, OP_VMFLAGS, OP_SMAPS, OP_STATUS, OP_MAPCOUNT, OP_PRESENT,
	OP_SOFTDIRTY, OP_EXCLUSIVE, OP_SAMEFRAME, OP_FAULTS, OP_MEMINFO, OP_CLEARREFS,
	OP_RECLAIM, OP_SWAPON, OP_SWAPOFF, OP_FAIL,
	OP_COUNT
};

/* One word of an expression in postfix order. */
enum scn_tok_op {
	TOK_NUM,  /* value */
	TOK_NAME, /* value: number of a bound name */
	TOK_TASK_SIZE,
	TOK_MMAP_MIN,
	TOK_RET,    /* the machine's return instructions */
	TOK_STATUS, /* a field of /proc/self/status, in bytes; value: text offset | length << 32 */
	TOK_ADD, TOK_SUB, TOK_MUL, TOK_OR, TOK_NEG, TOK_NOT,
};

struct scn_tok {
	uint64_t value;
	enum scn_tok_op op;
};

struct scn_expr {
	uint16_t first, count; /* of the tokens */
};

enum scn_arg_kind { ARG_EXPR, ARG_WORD, ARG_TASK };

struct scn_arg {
	enum scn_arg_kind kind;
	union {
		struct scn_expr expr;
		uint32_t task;
	};
	uint32_t off, len; /* ARG_WORD: where it stands in the text, quotes not counted */
};

enum scn_want { WANT_NOTHING, WANT_ANY, WANT_OK, WANT_VALUE, WANT_ERRNO, WANT_SIGNAL, WANT_TEXT };

struct scn_action {
	enum scn_op op;
	uint32_t line;
	uint32_t off, len; /* the action's text without what is expected of it */
	uint32_t want_off, want_len;
	uint8_t task, nargs;
	uint8_t arch; /* the line is of this architecture alone (user/arch.h); 0: of every one */
	int8_t bind; /* name that gets the result, -1: none */
	struct scn_arg arg[SCN_MAX_ARGS];

	enum scn_want want;
	int err, sig, code; /* code -1: not said */
	bool has_addr;
	struct scn_expr value; /* WANT_VALUE; WANT_SIGNAL: the address */
	int32_t faults;	       /* -1: not said */
};

struct scn_word {
	uint32_t off, len;
};

struct scenario {
	uint32_t size, nactions, ntokens, nnames, ntasks;
	struct scn_word name[SCN_MAX_NAMES], task[SCN_MAX_TASKS];
	uint8_t parent[SCN_MAX_TASKS];
	struct scn_tok token[SCN_MAX_TOKENS];
	struct scn_action action[SCN_MAX_ACTIONS];
	char text[SCN_MAX_TEXT];
};

/* Parses s->text, s->size bytes. True: the rest of s is filled in. Else err gets
 * "LINE:COLUMN: reason". */
bool scn_parse(struct scenario *s, struct text *err);

/* The first action that would change the whole machine, or NULL. */
const struct scn_action *scn_whole_machine(const struct scenario *s);

#endif
