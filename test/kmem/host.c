/* SPDX-License-Identifier: MIT */
/* The replay of page and slab events on the machine in software. usage: kmem-host FILE MIB */
#include <stdio.h>
#include <stdlib.h>

#include "arch/fake/fake.h"
#include "test/kmem/kmem.h"
#include <quire/quire.h>

static void line(const char *s)
{
	printf("kmem: %s\n", s);
}

static char *slurp(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	char *s = NULL;

	*n = 0;
	while (f && !feof(f) && !ferror(f)) {
		char *more = realloc(s, *n + (1 << 20));

		if (!more)
			break;
		s = more;
		*n += fread(s + *n, 1, 1 << 20, f);
	}
	if (!f || ferror(f)) {
		perror(path);
		exit(2);
	}
	fclose(f);
	return s;
}

int main(int argc, char **argv)
{
	struct fake_config cfg = {0};
	int status;
	size_t n;
	char *text;

	if (argc != 3) {
		fprintf(stderr, "usage: kmem-host FILE MIB\n");
		return 2;
	}
	text = slurp(argv[1], &n);
	cfg.ram = strtoull(argv[2], NULL, 10) << 20;
	if (fake_machine_create(&cfg) || quire_init(NULL))
		return 2;
	status = kmem_replay(text, n, line);
	if (quire_exit() && !status)
		status = 1;
	fake_machine_destroy();
	free(text);
	return status;
}
