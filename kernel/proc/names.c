/* SPDX-License-Identifier: MIT */
/*
 * What the machine and its kernel are called and how much they take: uname(), the two calls that name the
 * machine, and /proc/sys/kernel as far as programs read it.
 */
#include "kernel/proc/proc.h"

#define NAME_LEN 65 /* of each of uname's, with its end */
#define RELEASE	 "5.10.0-quire"
#define VERSION	 "#1"
#define NOBODY	 65534

static DEFINE_SPINLOCK(names_lock);
static char host_name[NAME_LEN], domain_name[NAME_LEN];

void names_init(void)
{
	strscpy(host_name, "quire", sizeof(host_name));
	strscpy(domain_name, "(none)", sizeof(domain_name));
}

static void get_name(char out[NAME_LEN], const char *from)
{
	spin_lock(&names_lock);
	memcpy(out, from, NAME_LEN);
	spin_unlock(&names_lock);
}

static void set_name(char *to, const char *s, size_t n)
{
	spin_lock(&names_lock);
	memset(to, 0, NAME_LEN);
	memcpy(to, s, n);
	spin_unlock(&names_lock);
}

#define KEEPS ~0u /* personality(): only asks */

SYSCALL1(personality, uint32_t, new)
{
	uint32_t old = current->personality;

	if (new != KEEPS)
		current->personality = new;
	return (long)old;
}

/* For programs that take a third dot's number for granted: 5.10.0 is 2.6.70. */
static void older_release(char out[NAME_LEN])
{
	const char *rest = RELEASE;
	unsigned minor = 0, dots = 0;

	for (; (*rest >= '0' && *rest <= '9') || (*rest == '.' && ++dots < 3); rest++)
		if (dots == 1 && *rest != '.')
			minor = minor * 10 + (unsigned)(*rest - '0');
	scnprintf(out, NAME_LEN, "2.6.%u%s", minor + 60, rest);
}

SYSCALL1(uname, uintptr_t, dst)
{
	struct {
		char sysname[NAME_LEN], nodename[NAME_LEN], release[NAME_LEN], version[NAME_LEN],
			machine[NAME_LEN], domain[NAME_LEN];
	} u = {.sysname = "Linux", .release = RELEASE, .version = VERSION};

	if (current->personality & UNAME26)
		older_release(u.release);
	get_name(u.nodename, host_name);
	get_name(u.domain, domain_name);
	strscpy(u.machine, hal_machine_name(), sizeof(u.machine));
	return COPY_OUT(dst, u);
}

/* -EPERM before anything is looked at. */
static long name_call(char *to, uintptr_t src, int n)
{
	char name[NAME_LEN - 1];

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (n < 0 || (size_t)n > sizeof(name))
		return -EINVAL;
	if (hal_copy_from_user(name, src, (size_t)n))
		return -EFAULT;
	set_name(to, name, (size_t)n);
	return 0;
}

SYSCALL2(sethostname, uintptr_t, src, int, n)
{
	return name_call(host_name, src, n);
}

SYSCALL2(setdomainname, uintptr_t, src, int, n)
{
	return name_call(domain_name, src, n);
}

/* ---- texts ----------------------------------------------------------------------------------------- */

static void show_ostype(struct text *t, struct process *p)
{
	say(t, "Linux\n");
}

static void show_osrelease(struct text *t, struct process *p)
{
	say(t, RELEASE "\n");
}

static void show_kernel_version(struct text *t, struct process *p)
{
	say(t, VERSION "\n");
}

/* Of what uname() tells, in one line. */
static void show_version(struct text *t, struct process *p)
{
	say(t, "Linux version " RELEASE " (%s) " VERSION "\n", hal_machine_name());
}

static void show_name(struct text *t, const char *from)
{
	char name[NAME_LEN];

	get_name(name, from);
	say(t, "%s\n", name);
}

/* To the end of the line; what is too long is cut. */
static long write_name(char *to, const char *s, size_t n)
{
	const char *end = memchr(s, '\n', n);

	n = end ? (size_t)(end - s) : n;
	set_name(to, s, min(n, (size_t)NAME_LEN - 1));
	return 0;
}

static void show_hostname(struct text *t, struct process *p)
{
	show_name(t, host_name);
}

static long write_hostname(const char *s, size_t n, struct process *p)
{
	return write_name(host_name, s, n);
}

static void show_domainname(struct text *t, struct process *p)
{
	show_name(t, domain_name);
}

static long write_domainname(const char *s, size_t n, struct process *p)
{
	return write_name(domain_name, s, n);
}

/* ---- numbers --------------------------------------------------------------------------------------- */

static long write_bounded(int *to, const char *s, int low, int high)
{
	uint64_t v;

	if (parse_number(s, &v) || v < (unsigned)low || v > (unsigned)high)
		return -EINVAL;
	WRITE_ONCE(*to, (int)v);
	return 0;
}

static void show_pid_max(struct text *t, struct process *p)
{
	say(t, "%d\n", READ_ONCE(pid_max));
}

static long write_pid_max(const char *s, size_t n, struct process *p)
{
	return write_bounded(&pid_max, s, PID_MAX_MIN, PID_MAX_LIMIT);
}

static void show_threads_max(struct text *t, struct process *p)
{
	say(t, "%d\n", READ_ONCE(threads_max));
}

static long write_threads_max(const char *s, size_t n, struct process *p)
{
	return write_bounded(&threads_max, s, 1, FUTEX_TID_ROOM);
}

static void show_last_pid(struct text *t, struct process *p)
{
	say(t, "%d\n", last_pid_given());
}

static long write_last_pid(const char *s, size_t n, struct process *p)
{
	int pid;
	long err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = write_bounded(&pid, s, 0, READ_ONCE(pid_max) - 1);
	if (!err)
		set_last_pid(pid);
	return err;
}

static void show_cap_last_cap(struct text *t, struct process *p)
{
	say(t, "%d\n", CAP_LAST_CAP);
}

static void show_randomize(struct text *t, struct process *p)
{
	say(t, "%d\n", options.aslr ? 2 : 0); /* stack, areas and heap, or nothing */
}

static void show_nobody(struct text *t, struct process *p)
{
	say(t, "%d\n", NOBODY);
}

/* ---- chance ---------------------------------------------------------------------------------------- */

/* Version 4, variant 1: six bits are given. */
static void new_uuid(unsigned char id[16])
{
	random_bytes(id, 16);
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
}

static void say_uuid(struct text *t, const unsigned char id[16])
{
	for (unsigned i = 0; i < 16; i++)
		say(t, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
	say(t, "\n");
}

static void show_uuid(struct text *t, struct process *p)
{
	unsigned char id[16];

	new_uuid(id);
	say_uuid(t, id);
}

/* Of this start of the machine: made by who asks first. */
static void show_boot_id(struct text *t, struct process *p)
{
	static unsigned char id[16];
	unsigned char fresh[16], mine[16];

	new_uuid(fresh);
	spin_lock(&names_lock);
	if (!id[6])
		memcpy(id, fresh, sizeof(id));
	memcpy(mine, id, sizeof(mine));
	spin_unlock(&names_lock);
	say_uuid(t, mine);
}

#define POOL_BITS 256 /* of the generator's state that a program may count on */

static void show_pool(struct text *t, struct process *p)
{
	say(t, "%d\n", POOL_BITS);
}

#define KERNEL "/proc/sys/kernel/"

const struct proc_file names_files[] = {
	{"/proc/version", show_version, NULL, NULL},
	{KERNEL "ostype", show_ostype, NULL, NULL},
	{KERNEL "osrelease", show_osrelease, NULL, NULL},
	{KERNEL "version", show_kernel_version, NULL, NULL},
	{KERNEL "hostname", show_hostname, write_hostname, NULL},
	{KERNEL "domainname", show_domainname, write_domainname, NULL},
	{KERNEL "pid_max", show_pid_max, write_pid_max, NULL},
	{KERNEL "threads-max", show_threads_max, write_threads_max, NULL},
	{KERNEL "ns_last_pid", show_last_pid, write_last_pid, NULL, .mode = 0666},
	{KERNEL "cap_last_cap", show_cap_last_cap, NULL, NULL},
	{KERNEL "randomize_va_space", show_randomize, NULL, NULL},
	{KERNEL "overflowuid", show_nobody, NULL, NULL},
	{KERNEL "overflowgid", show_nobody, NULL, NULL},
	{KERNEL "random/uuid", show_uuid, NULL, NULL},
	{KERNEL "random/boot_id", show_boot_id, NULL, NULL},
	{KERNEL "random/entropy_avail", show_pool, NULL, NULL},
	{KERNEL "random/poolsize", show_pool, NULL, NULL},
	{0},
};
