/* SPDX-License-Identifier: MIT */
/*
 * Sleeping reader-writer locks on os_wait()/os_wake(): one atomic when nobody contends. Somebody
 * who waits stops new readers, so that writers are not starved; a thread must therefore not take
 * the same lock for reading twice. Context: sleep.
 */
#ifndef LIB_RWSEM_H
#define LIB_RWSEM_H

#include <stdbool.h>
#include <stdint.h>

struct rw_semaphore {
	uint32_t state;	 /* readers | RWSEM_WAIT | RWSEM_WRITER; atomic */
	uintptr_t owner; /* the writer's thread, for asserts */
	const char *name;
};

#define RWSEM_WRITER  0x80000000u
#define RWSEM_WAIT    0x40000000u
#define RWSEM_READERS 0x3fffffffu

#define RWSEM_INIT(n)	  { 0, 0, (n) }
#define DEFINE_RWSEM(var) struct rw_semaphore var = RWSEM_INIT(#var)

static inline void init_rwsem_named(struct rw_semaphore *s, const char *name)
{
	*s = (struct rw_semaphore)RWSEM_INIT(name);
}
#define init_rwsem(s) init_rwsem_named(s, #s)

void down_read(struct rw_semaphore *s);
bool down_read_trylock(struct rw_semaphore *s);
void up_read(struct rw_semaphore *s);
void down_write(struct rw_semaphore *s);
bool down_write_trylock(struct rw_semaphore *s);
void up_write(struct rw_semaphore *s);
/* The writer becomes a reader, with nobody in between. */
void downgrade_write(struct rw_semaphore *s);

static inline bool rwsem_is_locked(const struct rw_semaphore *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_RELAXED) & (RWSEM_WRITER | RWSEM_READERS);
}
static inline bool rwsem_is_write_locked(const struct rw_semaphore *s)
{
	return __atomic_load_n(&s->state, __ATOMIC_RELAXED) & RWSEM_WRITER;
}

#endif
