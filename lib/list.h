/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked lists with a head. Names and meanings are the well-known ones; the
 * caller locks. A deleted entry is poisoned, so that a second deletion faults.
 */
#ifndef LIB_LIST_H
#define LIB_LIST_H

#include "lib/bug.h"

#include <stddef.h>
#include <stdint.h>

struct list_head {
	struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name) { &(name), &(name) }
#define LIST_HEAD(name)	     struct list_head name = LIST_HEAD_INIT(name)
#define LIST_POISON1	     ((struct list_head *)0x100)
#define LIST_POISON2	     ((struct list_head *)0x122)

static inline void INIT_LIST_HEAD(struct list_head *h)
{
	h->next = h;
	h->prev = h;
}

static inline void list_insert_between(struct list_head *n, struct list_head *prev,
				       struct list_head *next)
{
	next->prev = n;
	n->next = next;
	n->prev = prev;
	prev->next = n;
}

/* Adds n as the first entry. */
static inline void list_add(struct list_head *n, struct list_head *head)
{
	list_insert_between(n, head, head->next);
}

/* Adds n as the last entry. */
static inline void list_add_tail(struct list_head *n, struct list_head *head)
{
	list_insert_between(n, head->prev, head);
}

static inline void list_unlink_between(struct list_head *prev, struct list_head *next)
{
	next->prev = prev;
	prev->next = next;
}

static inline void list_del(struct list_head *n)
{
	list_unlink_between(n->prev, n->next);
	n->next = LIST_POISON1;
	n->prev = LIST_POISON2;
}

static inline void list_del_init(struct list_head *n)
{
	list_unlink_between(n->prev, n->next);
	INIT_LIST_HEAD(n);
}

static inline void list_move(struct list_head *n, struct list_head *head)
{
	list_unlink_between(n->prev, n->next);
	list_add(n, head);
}

static inline void list_move_tail(struct list_head *n, struct list_head *head)
{
	list_unlink_between(n->prev, n->next);
	list_add_tail(n, head);
}

static inline bool list_empty(const struct list_head *head)
{
	return head->next == head;
}

static inline bool list_is_singular(const struct list_head *head)
{
	return !list_empty(head) && head->next == head->prev;
}

/* Moves all of list to the front of head; list is empty afterwards. */
static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
	if (list_empty(list))
		return;
	list->next->prev = head;
	list->prev->next = head->next;
	head->next->prev = list->prev;
	head->next = list->next;
	INIT_LIST_HEAD(list);
}

#define list_entry(ptr, type, member)	    container_of(ptr, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member)  list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) \
	(list_empty(head) ? NULL : list_first_entry(head, type, member))
/* By address alone: at a list's end pos is no entry, and need not even be aligned like one. */
#define list_of_entry(pos, member) \
	((struct list_head *)((uintptr_t)(pos) + offsetof(__typeof__(*(pos)), member)))
#define list_entry_is_head(pos, head, member) (list_of_entry(pos, member) == (head))
#define list_next_entry(pos, member) \
	list_entry(list_of_entry(pos, member)->next, __typeof__(*(pos)), member)
#define list_prev_entry(pos, member) \
	list_entry(list_of_entry(pos, member)->prev, __typeof__(*(pos)), member)

#define list_for_each(pos, head) \
	for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
#define list_for_each_safe(pos, n, head)                                   \
	for ((pos) = (head)->next, (n) = (pos)->next; (pos) != (head);     \
	     (pos) = (n), (n) = (pos)->next)
#define list_for_each_entry(pos, head, member)                             \
	for ((pos) = list_first_entry(head, __typeof__(*(pos)), member);   \
	     !list_entry_is_head(pos, head, member); (pos) = list_next_entry(pos, member))
#define list_for_each_entry_reverse(pos, head, member)                     \
	for ((pos) = list_last_entry(head, __typeof__(*(pos)), member);    \
	     !list_entry_is_head(pos, head, member); (pos) = list_prev_entry(pos, member))
/* pos may be deleted in the body. */
#define list_for_each_entry_safe(pos, n, head, member)                     \
	for ((pos) = list_first_entry(head, __typeof__(*(pos)), member),   \
	     (n) = list_next_entry(pos, member);                           \
	     !list_entry_is_head(pos, head, member); (pos) = (n), (n) = list_next_entry(n, member))

#endif
